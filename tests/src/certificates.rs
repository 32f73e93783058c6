//! A private authority, and a certificate by it for 127.0.0.1, made by `openssl`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The files; they go when this is dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Makes them; `None` where there is no `openssl`.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(
            this.path("extensions"),
            "subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n",
        )
        .unwrap();
        let curve = "ec_paramgen_curve:prime256v1";
        #[rustfmt::skip]
        let steps: [&[&str]; 3] = [
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", curve, "-nodes", "-days", "2", "-subj", "/CN=Private authority",
              "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "authority.key", "-out", "authority.pem"],
            &["req", "-newkey", "ec", "-pkeyopt", curve, "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", "server.key",
              "-out", "server.csr"],
            &["x509", "-req", "-in", "server.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
              "-days", "2", "-extfile", "extensions", "-out", "server.pem"],
        ];
        for step in steps {
            let output = Command::new("openssl")
                .args(step)
                .current_dir(this.folder.path())
                .output()
                .ok()?;
            assert!(output.status.success(), "openssl {step:?}: {output:?}");
        }
        Some(this)
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path("server.pem")
    }

    /// The server's key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path("server.key")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
