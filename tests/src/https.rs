//! HTTPS in front of a [`crate::http::HttpServer`].

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates::Certificates;
use crate::http::{HttpServer, Request, Response};

/// A server on a free port of 127.0.0.1; it ends when dropped.
#[derive(Debug)]
pub struct HttpsServer {
    address: SocketAddr,
    /// Ends without waiting for connections, which a test may drop it in the middle of.
    runtime: Option<Runtime>,
    _http: HttpServer,
}

impl HttpsServer {
    /// Starts a server that closes each connection behind its one answer. The handler may take its time; `None` closes the
    /// connection without an answer.
    pub fn start(
        certificates: &Certificates,
        handler: impl Fn(Request) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let http = HttpServer::start(handler);
        let acceptor = acceptor(certificates);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port");
        listener.set_nonblocking(true).expect("a socket");
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let behind = http.address();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((connection, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // A client that goes away in the middle is part of the tests.
                tokio::spawn(async move {
                    let mut outside = acceptor.accept(connection).await?;
                    let mut inside = TcpStream::connect(behind).await?;
                    copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        Self {
            address,
            runtime: Some(runtime),
            _http: http,
        }
    }

    /// A URL of this server; the path begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn acceptor(certificates: &Certificates) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(certificates.certificate()).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificates.key()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
