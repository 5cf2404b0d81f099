//! How the types of a handler describe one operation for the OpenAPI document.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The schemas of all types so far: in replies a field that is always there is required, in requests it is not.
pub(super) struct Schemas {
    pub(super) replies: SchemaGenerator,
    pub(super) requests: SchemaGenerator,
}

impl Schemas {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { replies: generator(true), requests: generator(false) }
    }
}

fn generator(replies: bool) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    if replies { settings.for_serialize() } else { settings.for_deserialize() }.into_generator()
}

/// One operation while its handler's types describe it.
pub struct Operation<'a> {
    schemas: &'a mut Schemas,
    /// Its parameters, as OpenAPI has them.
    pub(super) parameters: Vec<Value>,
    /// Its body, if it takes one.
    pub(super) body: Option<Value>,
    /// Its responses by status.
    pub(super) responses: Map<String, Value>,
}

impl<'a> Operation<'a> {
    /// An operation of which nothing is known yet.
    pub(super) fn new(schemas: &'a mut Schemas) -> Self {
        Self { schemas, parameters: Vec::new(), body: None, responses: Map::new() }
    }

    /// The schema of a type in a reply.
    pub fn reply_schema<T: JsonSchema>(&mut self) -> Value {
        self.schemas.replies.subschema_for::<T>().to_value()
    }

    /// A further response. No schema: its bytes are not JSON; no media type: no body.
    pub fn response(&mut self, status: u16, media: &str, schema: Option<Value>) {
        let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let response = self
            .responses
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": reason.unwrap_or("Unknown") }));
        if !media.is_empty() {
            response["content"][media] = schema.map_or_else(|| json!({}), |schema| json!({ "schema": schema }));
        }
    }

    /// A struct's fields as parameters.
    pub fn parameters<T: JsonSchema>(&mut self, place: &str) {
        let schema = T::json_schema(&mut self.schemas.requests).to_value();
        let required = |name: &String| {
            let list = schema.get("required").and_then(Value::as_array);
            place == "path" || list.is_some_and(|list| list.iter().any(|other| other == name))
        };
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let mut schema = schema.clone();
            let mut parameter = json!({ "name": name, "in": place, "required": required(name) });
            if let Some(description) = schema.as_object_mut().and_then(|schema| schema.remove("description")) {
                parameter["description"] = description;
            }
            parameter["schema"] = schema;
            self.parameters.push(parameter);
        }
    }

    /// A JSON body.
    pub fn json_body<T: JsonSchema>(&mut self, required: bool) {
        let schema = self.schemas.requests.subschema_for::<T>().to_value();
        self.body = Some(json!({ "required": required, "content": { "application/json": { "schema": schema } } }));
    }

    /// A body of bytes.
    pub fn binary_body(&mut self) {
        self.body = Some(json!({ "required": true, "content": { "application/x-tar": {} } }));
    }
}
