//! Chain ids: the name of a layer together with all layers below it.

use sha2::{Digest, Sha256};

use crate::model::ids::hex;

/// Chain ids (hexadecimal) of layers given by their diff ids (`sha256:…`), the lowest first.
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chains.last() {
            None => diff_id.strip_prefix("sha256:").unwrap_or(diff_id).to_owned(),
            Some(below) => hex(&Sha256::digest(format!("sha256:{below} {diff_id}").as_bytes())),
        };
        chains.push(next);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_layer_is_its_own_chain() {
        let (a, b) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        let chains = chain_ids(&[a.clone(), b.clone()]);
        assert_eq!(chains[0], "a".repeat(64));
        // printf 'sha256:aaa… sha256:bbb…' | sha256sum
        assert_eq!(chains[1], hex(&Sha256::digest(format!("{a} {b}").as_bytes())));
    }
}
