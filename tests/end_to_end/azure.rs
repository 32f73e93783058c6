//! Signing in at Entra ID by workload identity: the program, its environment, and a kubeconfig that names a plugin which is
//! not there.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::canaries::Canaries;
use tidegate_testkit::certificates::Certificates;
use tidegate_testkit::fake_entra::{FakeEntra, Fault, SERVER, TENANT, TOKEN_PREFIX};
use tidegate_testkit::http::{HttpServer, Request, Response, Wait};
use tidegate_testkit::tidegate::{Answer, Tidegate, built};

const CLIENT: &str = "2f7b1a6e-5d3c-4e8f-9a0b-1c2d3e4f5a6b";
/// The pod's own token.
const ASSERTION: &str =
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ0aWRlZ2F0ZSJ9.c2lnbmVkLWJ5LXRoZS1jbHVzdGVy";

/// An AKS cluster, as far as the doctor asks: it takes Entra ID's tokens, and grants what is asked for but not everything.
fn cluster(entra: &FakeEntra, request: &Request) -> Response {
    let token = request.header("authorization").unwrap_or_default();
    if !entra.is_good(token.strip_prefix("Bearer ").unwrap_or_default()) {
        return Response::json(401, r#"{"kind":"Status","message":"Unauthorized"}"#);
    }
    if request.path == "/version" {
        return Response::json(200, r#"{"gitVersion":"v1.36.0"}"#);
    }
    let review: Value = serde_json::from_slice(&request.body).unwrap();
    let allowed = review["spec"]["resourceAttributes"]["verb"] != "*";
    Response::json(201, json!({ "status": { "allowed": allowed } }).to_string())
}

#[test]
fn the_doctor_signs_in_with_what_azures_webhook_sets() {
    let Some(certificates) = Certificates::generate() else {
        eprintln!("SKIPPED: signing in at Entra ID; install openssl");
        return;
    };
    let entra = Arc::new(FakeEntra::start(&certificates));
    entra.trust(CLIENT, ASSERTION);
    let server = HttpServer::start({
        let entra = Arc::clone(&entra);
        move |request| Some(cluster(&entra, &request))
    });
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    git2::Repository::init_bare(at("fleet.git")).unwrap();
    fs::create_dir(at("clusters")).unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "aks",
        "contexts": [{ "name": "aks", "context": { "cluster": "aks", "user": "pod" } }],
        "clusters": [{ "name": "aks", "cluster": { "server": server.url("") } }],
        "users": [{ "name": "pod", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "kubelogin",
            "args": ["get-token", "--login", "workloadidentity", "--server-id", SERVER],
            "interactiveMode": "Never",
        } } }],
    });
    fs::write(at("clusters/management.yaml"), kubeconfig.to_string()).unwrap();
    // The doctor looks at a cluster that has Secrets with others' kubeconfigs, whatever was promoted.
    let settings = "dataDir: data
fleets:
  - name: shop
    repo: ./fleet.git
    clusters:
      - kubeconfigs: clusters
      - secrets: { cluster: management, namespace: kcm-system }
";
    fs::write(at("settings.yaml"), settings).unwrap();
    fs::write(at("azure-identity-token"), ASSERTION).unwrap();
    let canaries = Canaries::new([
        ("the pod's token", ASSERTION),
        ("tokens of Entra ID", TOKEN_PREFIX),
    ]);
    let doctor = |with: &dyn Fn(Tidegate) -> Tidegate| -> Answer {
        let tidegate = Tidegate::new(built(), folder.path())
            .env("SSL_CERT_FILE", certificates.authority())
            .env("AZURE_AUTHORITY_HOST", entra.authority())
            .env("AZURE_TENANT_ID", TENANT)
            .env("AZURE_CLIENT_ID", CLIENT)
            .env("AZURE_FEDERATED_TOKEN_FILE", at("azure-identity-token"));
        let answer = with(tidegate).call(&["doctor", "--settings", "settings.yaml"]);
        canaries.assert_absent("standard output", answer.stdout.as_bytes());
        canaries.assert_absent("standard error", answer.stderr.as_bytes());
        answer
    };

    let fine = doctor(&|tidegate| tidegate);
    assert_eq!(fine.code, Some(0), "{}", fine.stdout);
    assert!(
        fine.stdout.contains("Kubernetes v1.36.0"),
        "{}",
        fine.stdout
    );
    assert_eq!(entra.sign_ins().len(), 1);
    assert_eq!(
        entra.sign_ins()[0].form["scope"],
        format!("{SERVER}/.default")
    );

    let problem = |with: &dyn Fn(Tidegate) -> Tidegate, expected: &str| {
        let found = doctor(with);
        assert_eq!(found.code, Some(1), "{}", found.stdout);
        assert!(
            found.stdout.contains("clusters/management.yaml: "),
            "{}",
            found.stdout
        );
        assert!(
            found.stdout.contains(expected),
            "{expected}: {}",
            found.stdout
        );
    };
    let without = |name: &'static str| move |tidegate: Tidegate| tidegate.env(name, "");
    problem(
        &without("AZURE_FEDERATED_TOKEN_FILE"),
        "AZURE_FEDERATED_TOKEN_FILE is not set, and the kubeconfig gives no --federated-token-file: does the pod carry the label azure.workload.identity/use",
    );
    let strangers = Certificates::generate().unwrap();
    problem(
        &|tidegate| tidegate.env("SSL_CERT_FILE", strangers.authority()),
        "Entra ID (127.0.0.1) cannot be reached: invalid peer certificate",
    );
    entra.set_fault(CLIENT, Some(Fault::Repeats));
    problem(
        &|tidegate| tidegate,
        "AADSTS50027: The assertion *** is malformed.",
    );
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let wait = Wait::until(move || {
        let _ = ended.lock().unwrap().recv_timeout(Duration::from_secs(60));
    });
    entra.set_fault(CLIENT, Some(Fault::Hangs(wait)));
    problem(
        &|tidegate| tidegate,
        "did not answer the sign-in within 10s",
    );
    drop(end);
}
