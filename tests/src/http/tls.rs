//! The server's side of TLS.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Certificates;

/// By what a server is known to those who trust the authority.
pub(super) struct Identity(Arc<ServerConfig>);

impl Identity {
    /// That of the files.
    pub(super) fn read(certificates: &Certificates) -> Self {
        let chain = CertificateDer::pem_file_iter(certificates.certificate())
            .expect("the certificate")
            .collect::<Result<_, _>>()
            .expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(certificates.key()).expect("the key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a key that fits the certificate");
        Self(Arc::new(config))
    }

    /// A connection to somebody who may well not trust it; that shows with the first byte.
    pub(super) fn greet(
        &self,
        connection: TcpStream,
    ) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
        let session = ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        Ok(StreamOwned::new(session, connection))
    }
}
