//! Who asks: credentials, challenges, tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::basic::basic;
use super::http::{Ask, Http};
use super::payload::Payload;
use super::refusal::refusal;
use super::{Error, Result};

/// Largest answer of a token service, in bytes.
const MAX_TOKEN: u64 = 1 << 20;
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Who asks, as `X-Registry-Auth` and `POST /auth` say it. Empty fields are not given.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password, or an access token in its place.
    pub password: String,
    /// Name and password in base64, with a colon between them.
    pub auth: String,
    /// The registry.
    pub serveraddress: String,
    /// A token to get others with.
    pub identitytoken: String,
    /// A token for the registry itself.
    pub registrytoken: String,
}

/// Secrets are nobody's to print.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("serveraddress", &self.serveraddress).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads `X-Registry-Auth`: JSON in base64, of whichever alphabet. What cannot be read is nobody, as in Docker.
    pub fn from_header(text: &str) -> Self {
        let decode = |alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok();
        let bytes = decode(&alphabet::URL_SAFE).or_else(|| decode(&alphabet::STANDARD)).unwrap_or_default();
        serde_json::from_slice::<Self>(&bytes).unwrap_or_default().completed()
    }

    /// With name and password taken out of `auth`, where only that is given.
    #[must_use]
    pub fn completed(mut self) -> Self {
        if self.username.is_empty()
            && let Ok(bytes) = GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(&self.auth)
            && let Some((name, password)) =
                String::from_utf8(bytes).ok().as_deref().and_then(|text| text.split_once(':'))
        {
            self.username = name.to_owned();
            self.password = password.trim_end_matches('\0').to_owned();
        }
        self
    }

    fn basic(&self) -> Option<String> {
        let given = !self.username.is_empty() || !self.password.is_empty();
        given.then(|| basic(format!("{}:{}", self.username, self.password)))
    }
}

/// The proof for one registry, made anew when it wears out.
#[derive(Debug)]
pub struct Proof {
    credentials: Credentials,
    header: Mutex<Option<HeaderValue>>,
}

impl Proof {
    /// Nothing is proved before it is asked for.
    pub fn new(credentials: Credentials) -> Self {
        let token = &credentials.registrytoken;
        let header = (!token.is_empty()).then(|| format!("Bearer {token}").parse().ok()).flatten();
        Self { credentials, header: Mutex::new(header) }
    }

    /// What to send now.
    pub fn header(&self) -> Option<HeaderValue> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers a challenge. `tried`: what was refused; another thread may have a newer one by now. False: there is nothing
    /// better to send.
    ///
    /// # Errors
    /// The token service's refusal.
    pub fn renew(
        &self,
        http: &Arc<Http>,
        domain: &str,
        challenges: &HeaderMap,
        scope: &str,
        tried: Option<&HeaderValue>,
    ) -> Result<bool> {
        let mut header = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        if header.as_ref() != tried {
            return Ok(true);
        }
        for value in challenges.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
            let (scheme, fields) = challenge(value);
            let new = match scheme.as_str() {
                "basic" => self.credentials.basic(),
                "bearer" => Some(format!("Bearer {}", self.token(http, domain, &fields, scope)?)),
                _ => None,
            };
            let Some(new) = new.and_then(|new| HeaderValue::try_from(new).ok()) else { continue };
            if Some(&new) == tried {
                return Ok(false);
            }
            *header = Some(new);
            return Ok(true);
        }
        Ok(false)
    }

    fn token(&self, http: &Arc<Http>, domain: &str, fields: &BTreeMap<String, String>, scope: &str) -> Result<String> {
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let realm: Uri =
            field("realm").parse().map_err(|_| Error::Invalid(format!("{domain} names no token service")))?;
        if realm.scheme_str() != Some("https") && !http.config().is_insecure(domain) {
            return Err(Error::Invalid(format!("{domain}: its token service {realm} is not encrypted")));
        }
        let scope = if scope.is_empty() { field("scope") } else { scope };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let identity = &self.credentials.identitytoken;
        let mut query = vec![("service", field("service"))];
        // A form has one field for all of them.
        match identity.is_empty() {
            true => query.extend(scope.split(' ').map(|one| ("scope", one))),
            false => query.push(("scope", scope)),
        }
        let mut headers = HeaderMap::new();
        let mut ask = if identity.is_empty() {
            if !self.credentials.username.is_empty() {
                query.push(("account", &self.credentials.username));
            }
            if let Some(basic) = self.credentials.basic().and_then(|basic| HeaderValue::try_from(basic).ok()) {
                headers.insert(header::AUTHORIZATION, basic);
            }
            Ask { method: Method::GET, uri: realm.clone(), headers, body: Payload::none(), domain: domain.to_owned() }
        } else {
            query.extend([("grant_type", "refresh_token"), ("client_id", "pierless"), ("refresh_token", identity)]);
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form);
            Ask { method: Method::POST, uri: realm.clone(), headers, body: Payload::none(), domain: domain.to_owned() }
        };
        let pairs = query.into_iter().filter(|(_, value)| !value.is_empty());
        let text: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let text = text.join("&");
        if identity.is_empty() {
            let mark = if realm.query().is_some() { '&' } else { '?' };
            ask.uri =
                format!("{realm}{mark}{text}").parse().map_err(|_| Error::Invalid(format!("bad realm {realm}")))?;
        } else {
            ask.body = Payload::Bytes(text.into());
        }
        if realm.authority().is_some_and(|authority| authority.as_str() != domain) {
            // Its own trust, where the user has said something of it; it is as insecure as its registry.
            ask.domain = realm.authority().map(ToString::to_string).unwrap_or_default();
        }
        let answer = http.ask(ask)?;
        if !answer.status.is_success() {
            return Err(refusal(answer));
        }
        let read = |source| Error::Connection { what: format!("GET {}", field("realm")), source };
        let bytes = answer.body.all(MAX_TOKEN).map_err(read)?;
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Answer {
            token: String,
            access_token: String,
        }
        let answer: Answer = serde_json::from_slice(&bytes).unwrap_or_default();
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        if token.is_empty() {
            return Err(Error::Invalid("authorization server did not include a token in the response".to_owned()));
        }
        Ok(token)
    }
}

/// The scheme, in small letters, and the fields of a challenge.
fn challenge(text: &str) -> (String, BTreeMap<String, String>) {
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let mut fields = BTreeMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim().trim_start_matches(',').trim().to_ascii_lowercase();
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        fields.insert(name, value.to_owned());
        rest = left;
    }
    (scheme.to_ascii_lowercase(), fields)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn challenges_are_read() {
        let (scheme, fields) = challenge(
            r#"Bearer realm="https://t.example/token",service="a, b", scope="repository:x:pull,push",error=no"#,
        );
        assert_eq!(scheme, "bearer");
        assert_eq!(fields["realm"], "https://t.example/token");
        assert_eq!(fields["service"], "a, b");
        assert_eq!(fields["scope"], "repository:x:pull,push");
        assert_eq!(fields["error"], "no");
        assert_eq!(challenge("Basic realm=\"x\"").0, "basic");
        for odd in ["", "Bearer", "Bearer =", "Bearer a=\"", "Bearer ,,,=,"] {
            challenge(odd);
        }
    }

    #[test]
    fn credentials_come_in_either_alphabet() {
        let json = r#"{"username":"me?>","password":"pä","serveraddress":"r.example"}"#;
        for text in [
            base64::engine::general_purpose::URL_SAFE.encode(json),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json),
            STANDARD.encode(json),
        ] {
            let read = Credentials::from_header(&text);
            assert_eq!((read.username.as_str(), read.password.as_str()), ("me?>", "pä"));
        }
        assert_eq!(Credentials::from_header("e30="), Credentials::default());
        assert_eq!(Credentials::from_header("!"), Credentials::default());
        let auth = STANDARD.encode("me:a:b");
        let read = Credentials { auth, ..Credentials::default() }.completed();
        assert_eq!((read.username.as_str(), read.password.as_str()), ("me", "a:b"));
        assert!(!format!("{read:?}").contains("a:b"));
    }
}
