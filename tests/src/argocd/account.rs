//! The API server of an Argo CD, and accounts of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;

use super::{ArgoCd, NAMESPACE, Part};
use crate::certificates::Certificates;
use crate::kubernetes::Client;
use crate::stack::DEADLINE;
use crate::wait::wait_for;

/// An API server, and an account of it.
#[derive(Debug)]
pub struct Access {
    /// Where it is, by https.
    pub url: String,
    /// The certificate of who vouches for it (PEM).
    pub authority: String,
    /// The account's token.
    pub token: String,
}

impl ArgoCd {
    /// Starts the API server, which needs the definition of application sets, and makes an account of this name that may do what
    /// these lines of `policy.csv` say.
    pub fn give_access(
        &mut self,
        account: &str,
        policy: &str,
        certificates: &Certificates,
    ) -> Access {
        let client = self.client.clone();
        let path = |kind: &str, name: &str| format!("/api/v1/namespaces/{NAMESPACE}/{kind}/{name}");
        let read = |file| STANDARD.encode(fs::read(file).unwrap());
        client.merge_patch(
            &path("secrets", "argocd-secret"),
            &json!({ "data": {
                "tls.crt": read(certificates.certificate()), "tls.key": read(certificates.key()),
            } }),
        );
        let accounts = json!({ "data": { format!("accounts.{account}"): "apiKey" } });
        client.merge_patch(&path("configmaps", "argocd-cm"), &accounts);
        self.set_policy(policy);
        let server = self.launch(Part::ApiServer);
        self.parts.insert(Part::ApiServer, server);
        self.wait_until_ready(Part::ApiServer);

        let url = format!("https://127.0.0.1:{}", self.ports.api);
        let authority = fs::read_to_string(certificates.authority()).unwrap();
        let nobody = Client::new(&url, &authority, "");
        let token = |answer: &Value| answer["token"].as_str().map(str::to_owned);
        // It makes the password when it begins, and lets nobody in before it has read what its cluster holds.
        let admin = wait_for("the administrator signs in", DEADLINE, || {
            let secret = client.get(&path("secrets", "argocd-initial-admin-secret"))?;
            let password = STANDARD
                .decode(secret["data"]["password"].as_str()?)
                .unwrap();
            let password = String::from_utf8(password).unwrap();
            let who = json!({ "username": "admin", "password": password });
            token(&nobody.try_create("/api/v1/session", &who).ok()?)
        });
        let made = nobody
            .with_token(&admin)
            .create(&format!("/api/v1/account/{account}/token"), &json!({}));
        Access {
            url,
            authority,
            token: token(&made).expect("a token"),
        }
    }

    /// Writes what accounts may do, as lines of `policy.csv`.
    pub fn set_policy(&self, policy: &str) {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/argocd-rbac-cm");
        let policy = json!({ "data": { "policy.csv": policy } });
        self.client.merge_patch(&path, &policy);
    }
}
