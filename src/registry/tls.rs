//! Whom to trust: the host's trust store, the user's files, Docker's `certs.d`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::config::Config;
use super::{Error, Result};

/// How to speak TLS with a registry. `unchecked`: with anybody who answers.
///
/// # Errors
/// A file that the user names cannot be used.
pub fn client(config: &Config, domain: &str, unchecked: bool) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let host = config.host(domain);
    let mut own: Vec<CertificateDer<'static>> = Vec::new();
    let mut pair = host.client_cert.clone().zip(host.client_key.clone());
    for path in config.authorities(domain) {
        own.extend(certificates(&path)?);
    }
    if pair.is_none() {
        let mut certs = config.docker_files(domain).filter(|path| path.extension().is_some_and(|end| end == "cert"));
        pair = certs.next().map(|path| (path.clone(), path.with_extension("key")));
    }
    let mut roots = RootCertStore::empty();
    if !unchecked {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    roots.add_parsable_certificates(own.iter().cloned());
    let inner = match roots.is_empty() || unchecked {
        true => None,
        false => Some(
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|err| Error::Invalid(format!("the trust store cannot be used: {err}")))?,
        ),
    };
    let verifier = Arc::new(Verifier { inner, own, unchecked, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|err| Error::Invalid(err.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut client = match pair {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let wrong = |err: &dyn std::fmt::Display| Error::Config { path: key.clone(), why: err.to_string() };
            let secret = PrivateKeyDer::from_pem_file(&key).map_err(|err| wrong(&err))?;
            builder.with_client_auth_cert(certificates(&certificate)?, secret).map_err(|err| wrong(&err))?
        }
    };
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(client))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |err: &dyn std::fmt::Display| Error::Config { path: PathBuf::from(path), why: err.to_string() };
    let all = CertificateDer::pem_file_iter(path).map_err(|err| wrong(&err))?;
    all.collect::<Result<Vec<_>, _>>().map_err(|err| wrong(&err))
}

/// As webpki does it; besides, a certificate that the user has named itself is good for the names in it. People make
/// one that signs itself, mark it as an authority, and have a server show it, which webpki refuses.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    own: Vec<CertificateDer<'static>>,
    unchecked: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.unchecked {
            return Ok(ServerCertVerified::assertion());
        }
        if self.own.iter().any(|own| own.as_ref() == end_entity.as_ref()) {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&parsed, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.inner {
            Some(inner) => inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::registry::config::Host;

    /// A certificate that signs itself and calls itself an authority, as `openssl req -x509` makes them.
    const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/registry/testdata/self-signed.crt");
    const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/registry/testdata/self-signed.key");

    /// What comes of a handshake with a server that shows [`OWN`].
    fn shake(config: &Config, unchecked: bool, name: &'static str) -> Result<(), String> {
        let client = client(config, "registry.test:5000", unchecked).map_err(|err| err.to_string())?;
        let server = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                certificates(Path::new(OWN)).expect("certificate"),
                PrivateKeyDer::from_pem_file(KEY).expect("key"),
            )
            .expect("server");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let (here, there) = tokio::io::duplex(1 << 16);
            let serve = TlsAcceptor::from(Arc::new(server)).accept(there);
            let connect = TlsConnector::from(client).connect(ServerName::try_from(name).expect("name"), here);
            let (_, connected) = tokio::join!(serve, connect);
            connected.map(drop).map_err(|err| err.to_string())
        })
    }

    #[test]
    fn a_named_certificate_is_good_for_its_names_and_no_other_is() {
        let named =
            |host: Host| Config { registry: [("registry.test:5000".to_owned(), host)].into(), ..Config::default() };
        let ours = named(Host { ca: Some(OWN.into()), ..Host::default() });
        assert_eq!(shake(&ours, false, "registry.test"), Ok(()));
        assert!(shake(&ours, false, "other.test").is_err(), "another name");
        assert!(shake(&Config::default(), false, "registry.test").is_err(), "nobody vouches for it");
        assert_eq!(shake(&Config::default(), true, "registry.test"), Ok(()));
        // Docker's folder says the same.
        let dir = tempfile::tempdir().expect("directory");
        let folder = dir.path().join("registry.test:5000");
        fs::create_dir(&folder).expect("directory");
        fs::copy(OWN, folder.join("ca.crt")).expect("copy");
        let docker = Config { certs: vec![dir.path().to_owned()], ..Config::default() };
        assert_eq!(shake(&docker, false, "registry.test"), Ok(()));
        let gone = named(Host { ca: Some("/nowhere.crt".into()), ..Host::default() });
        assert!(shake(&gone, false, "registry.test").expect_err("no file").contains("/nowhere.crt"));
    }
}
