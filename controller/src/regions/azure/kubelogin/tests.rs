use serde_json::{Value, json};

use super::*;

const SERVER: &str = "6dae42f8-4368-4678-94ff-3960e28e3630";

/// What Azure's webhook puts into a pod.
fn of_webhook(name: &str) -> Option<String> {
    let value = match name {
        "AZURE_TENANT_ID" => "tenant-of-pod",
        "AZURE_CLIENT_ID" => "client-of-pod",
        "AZURE_FEDERATED_TOKEN_FILE" => "/var/run/secrets/azure/tokens/azure-identity-token",
        "AZURE_AUTHORITY_HOST" => "https://login.microsoftonline.com/",
        _ => return None,
    };
    Some(value.to_owned())
}

fn nothing(_: &str) -> Option<String> {
    None
}

fn user(exec: &Value) -> AuthInfo {
    serde_json::from_value(json!({ "exec": exec })).unwrap()
}

fn called(command: &str, arguments: &[&str]) -> AuthInfo {
    user(&json!({
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": command,
        "args": arguments,
    }))
}

fn ours(arguments: &[&str], environment: &dyn Fn(&str) -> Option<String>) -> Identity {
    identity(&called("kubelogin", arguments), environment)
        .expect("a sign-in of ours")
        .unwrap()
}

fn refused(arguments: &[&str], environment: &dyn Fn(&str) -> Option<String>) -> String {
    identity(&called("kubelogin", arguments), environment)
        .expect("a sign-in of ours")
        .unwrap_err()
        .to_string()
}

#[test]
fn what_kubelogin_writes_into_a_kubeconfig_is_read_with_what_the_webhook_sets() {
    let expected = Identity {
        authority: "https://login.microsoftonline.com/".parse().unwrap(),
        tenant: "tenant-of-pod".to_owned(),
        client: "client-of-pod".to_owned(),
        token_file: "/var/run/secrets/azure/tokens/azure-identity-token".into(),
        server: SERVER.to_owned(),
    };
    for arguments in [
        &[
            "get-token",
            "--login",
            "workloadidentity",
            "--server-id",
            SERVER,
        ][..],
        &[
            "get-token",
            "--login=workloadidentity",
            &format!("--server-id={SERVER}"),
        ],
        &["get-token", "-l", "workloadidentity", "--server-id", SERVER],
        &["get-token", "-lworkloadidentity", "--server-id", SERVER],
        &[
            "get-token",
            "-l",
            "msi",
            "-l=workloadidentity",
            "--server-id",
            SERVER,
        ],
        &[
            "get-token",
            "--environment",
            "AzurePublicCloud",
            "--server-id",
            SERVER,
            "--login",
            "workloadidentity",
            "--token-cache-dir",
            "/tmp/cache",
            "--legacy",
            "--disable-instance-discovery=false",
        ],
    ] {
        assert_eq!(ours(arguments, &of_webhook), expected, "{arguments:?}");
    }
    let by_path = called(
        "/usr/local/bin/kubelogin",
        &["get-token", "-l", "workloadidentity", "--server-id", SERVER],
    );
    assert_eq!(identity(&by_path, &of_webhook).unwrap().unwrap(), expected);
}

const ALL: [&str; 13] = [
    "get-token",
    "--login",
    "workloadidentity",
    "--server-id",
    SERVER,
    "-t",
    "tenant",
    "--client-id",
    "client",
    "--federated-token-file",
    "/token",
    "--authority-host",
    "https://login.example.com",
];

#[test]
fn arguments_count_where_there_is_no_variable_and_where_they_rule_variables_out() {
    let expected = Identity {
        authority: "https://login.example.com".parse().unwrap(),
        tenant: "tenant".to_owned(),
        client: "client".to_owned(),
        token_file: "/token".into(),
        server: SERVER.to_owned(),
    };
    assert_eq!(ours(&ALL, &nothing), expected);
    let alone = [&ALL[..], &["--disable-environment-override"]].concat();
    assert_eq!(ours(&alone, &of_webhook), expected);
    // As with kubelogin: what the webhook sets wins.
    let both = ours(&ALL, &of_webhook);
    assert_eq!(
        (both.tenant.as_str(), both.client.as_str()),
        ("tenant-of-pod", "client-of-pod")
    );
}

#[test]
fn variables_of_the_kubeconfig_count_before_those_of_the_process() {
    let found = user(&json!({
        "command": "kubelogin",
        "args": ["get-token", "--server-id", SERVER],
        "env": [
            { "name": "AZURE_CLIENT_ID", "value": "client-of-kubeconfig" },
            { "name": "AAD_LOGIN_METHOD", "value": "workloadidentity" },
        ],
    }));
    let found = identity(&found, &of_webhook).unwrap().unwrap();
    assert_eq!(found.client, "client-of-kubeconfig");
    assert_eq!(found.tenant, "tenant-of-pod");
}

#[test]
fn what_is_not_for_us_is_left_to_the_plugin() {
    let server = ["--server-id", SERVER];
    let workload = ["get-token", "--login", "workloadidentity"];
    let ours = [&workload[..], &server].concat();
    let left = |user: &AuthInfo| identity(user, &of_webhook).is_none();
    assert!(!left(&called("kubelogin", &ours)));
    for (command, arguments) in [
        ("kubelogin-with-more", ours.clone()),
        ("aws", vec!["eks", "get-token"]),
        (
            "kubelogin",
            [&["get-token", "--login", "msi"][..], &server].concat(),
        ),
        // A code that somebody types in is the default.
        ("kubelogin", [&["get-token"][..], &server].concat()),
        (
            "kubelogin",
            [&["convert-kubeconfig", "-l", "workloadidentity"][..]].concat(),
        ),
        // Another plugin of that name.
        (
            "kubelogin",
            vec!["get-token", "--oidc-issuer-url=https://example.com"],
        ),
        // Takes its identity from other variables.
        (
            "kubelogin",
            [&ours[..], &["--use-azurerm-env-vars"]].concat(),
        ),
        (
            "kubelogin",
            [&ours[..], &["--flag-of-a-later-version", "1"]].concat(),
        ),
        (
            "kubelogin",
            vec!["get-token", "--login", "workloadidentity", "--server-id"],
        ),
    ] {
        assert!(
            left(&called(command, &arguments)),
            "{command} {arguments:?}"
        );
    }
    let on_github = |name: &str| GITHUB.contains(&name).then(|| "x".to_owned());
    assert!(identity(&called("kubelogin", &ours), &on_github).is_none());
    let by_variable = |name: &str| (name == "AAD_LOGIN_METHOD").then(|| "spn".to_owned());
    assert!(identity(&called("kubelogin", &ours), &by_variable).is_none());
    // A token that stands in the kubeconfig wins over a plugin.
    let mut with_token = called("kubelogin", &ours);
    with_token.token = Some("t".to_owned().into());
    assert!(left(&with_token));
}

#[test]
fn what_is_missing_is_named_with_what_to_look_at() {
    let ours = ["get-token", "-l", "workloadidentity", "--server-id", SERVER];
    for missing in [
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
    ] {
        for nothing in [None, Some(String::new())] {
            let environment = |name: &str| {
                if name == missing {
                    nothing.clone()
                } else {
                    of_webhook(name)
                }
            };
            let said = refused(&ours, &environment);
            assert!(said.starts_with(&format!("{missing} is not set")), "{said}");
            assert!(said.contains("azure.workload.identity/use"), "{said}");
        }
    }
    let alone = [&ours[..], &["--disable-environment-override"]].concat();
    let said = refused(&alone, &of_webhook);
    assert!(said.contains("no --federated-token-file"), "{said}");
    let said = refused(&ours[..3], &of_webhook);
    assert!(
        said.contains(&format!("no --server-id; that of AKS is {SERVER}")),
        "{said}"
    );
}

#[test]
fn what_cannot_be_used_is_said_with_what_would_be_right() {
    let ours = ["get-token", "-l", "workloadidentity", "--server-id", SERVER];
    let with = |name: &'static str, value: &'static str| {
        move |asked: &str| {
            if asked == name {
                Some(value.to_owned())
            } else {
                of_webhook(asked)
            }
        }
    };
    for authority in [
        "http://login.example.com",
        "login.example.com",
        "https:///",
        "file:///etc",
    ] {
        let said = refused(&ours, &with("AZURE_AUTHORITY_HOST", authority));
        assert!(said.contains("begins with https://"), "{authority}: {said}");
    }
    let said = refused(&ours, &with("AZURE_TENANT_ID", "../other"));
    assert!(said.contains("\"../other\" is no tenant"), "{said}");
    let without_authority =
        |name: &str| of_webhook(name).filter(|_| name != "AZURE_AUTHORITY_HOST");
    let in_cloud = |cloud: &'static str| [&ours[..], &["-e", cloud]].concat();
    let said = refused(&in_cloud("AzureStack"), &without_authority);
    assert!(said.contains("\"AzureStack\" is no cloud"), "{said}");
    for (cloud, host) in [
        ("AzurePublicCloud", "login.microsoftonline.com"),
        ("AzureUSGovernmentCloud", "login.microsoftonline.us"),
        ("azurechinacloud", "login.chinacloudapi.cn"),
    ] {
        assert_eq!(
            super::super::Identity::host(&self::ours(&in_cloud(cloud), &without_authority)),
            host
        );
    }
}
