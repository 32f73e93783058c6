//! The token endpoint of Entra ID, as far as workloads sign in by it: *OAuth 2.0 client credentials flow, third case: access
//! token request with a federated credential* of Microsoft's documentation. Its refusals have the documented form, with
//! escaped line breaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::certificates::Certificates;
use crate::http::{Request, Response, Wait};
use crate::https::HttpsServer;

/// The tenant that it knows.
pub const TENANT: &str = "8c1f5f2e-90e1-4c0f-a8b5-6a3f0c1d2e3f";
/// The service whose tokens it gives.
pub const SERVER: &str = "6dae42f8-4368-4678-94ff-3960e28e3630";
/// How every token of its begins.
pub const TOKEN_PREFIX: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.entra-issued-token-";

/// What it does instead of its work.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Says no, with a code and words.
    Refuses(u16, u32, String),
    /// A status, a body that is no JSON of its, and a header.
    Answers(u16, String, Option<(&'static str, String)>),
    /// Repeats the assertion in its refusal.
    Repeats,
    /// Takes the request and says nothing for a while.
    Hangs(Wait),
    /// Closes the connection.
    Closes,
}

/// A request for a token.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// When it came.
    pub at: Instant,
    /// `POST /<tenant>/oauth2/v2.0/token`.
    pub request: String,
    /// The fields of its form.
    pub form: BTreeMap<String, String>,
    /// What it got.
    pub token: Option<String>,
}

#[derive(Default)]
struct State {
    /// By client, the token of a pod that it trusts.
    trusted: BTreeMap<String, String>,
    lifetime: Duration,
    /// By client.
    faults: BTreeMap<String, Fault>,
    sign_ins: Vec<SignIn>,
    /// Every token, with its end.
    issued: BTreeMap<String, Instant>,
}

/// The service.
pub struct FakeEntra {
    state: Arc<Mutex<State>>,
    server: HttpsServer,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeEntra {
    /// Starts it, with tokens for a day.
    pub fn start(certificates: &Certificates) -> Self {
        let state = Arc::new(Mutex::new(State {
            lifetime: Duration::from_secs(86_400),
            ..State::default()
        }));
        let server = HttpsServer::start(certificates, {
            let state = Arc::clone(&state);
            move |request| answer(&state, &request)
        });
        Self { state, server }
    }

    /// What `AZURE_AUTHORITY_HOST` is to be.
    pub fn authority(&self) -> String {
        self.server.url("/")
    }

    /// From now on a client signs in with this token of its pod, and with no other.
    pub fn trust(&self, client: &str, assertion: &str) {
        let mut state = lock(&self.state);
        state
            .trusted
            .insert(client.to_owned(), assertion.to_owned());
    }

    /// Tokens are good for so long; whole seconds.
    pub fn give_for(&self, lifetime: Duration) {
        lock(&self.state).lifetime = lifetime;
    }

    /// What happens to a client's sign-ins from now on; `None` is that they are answered.
    pub fn set_fault(&self, client: &str, fault: Option<Fault>) {
        let mut state = lock(&self.state);
        match fault {
            Some(fault) => state.faults.insert(client.to_owned(), fault),
            None => state.faults.remove(client),
        };
    }

    /// Every sign-in, in the order in which they came.
    pub fn sign_ins(&self) -> Vec<SignIn> {
        lock(&self.state).sign_ins.clone()
    }

    /// Whether a token is its own and still good.
    pub fn is_good(&self, token: &str) -> bool {
        let state = lock(&self.state);
        state
            .issued
            .get(token)
            .is_some_and(|end| Instant::now() < *end)
    }

    /// Ends all tokens that were given.
    pub fn revoke(&self) {
        lock(&self.state).issued.clear();
    }
}

fn answer(state: &Mutex<State>, request: &Request) -> Option<Response> {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let form: BTreeMap<String, String> = reqwest::Url::parse(&format!("form:?{body}"))
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let (fault, outcome) = {
        let mut state = lock(state);
        let fault = state.faults.get(field("client_id")).cloned();
        let outcome = match &fault {
            Some(_) => Err((0, 0, String::new())),
            None => judge(&state, request, &field),
        };
        let token = outcome.is_ok().then(|| {
            let token = format!("{TOKEN_PREFIX}{:04}.c2lnbmF0dXJl", state.issued.len() + 1);
            let end = Instant::now() + state.lifetime;
            state.issued.insert(token.clone(), end);
            token
        });
        state.sign_ins.push(SignIn {
            at: Instant::now(),
            request: format!("{} {}", request.method, request.path),
            form: form.clone(),
            token: token.clone(),
        });
        (fault, outcome.map(|()| (token, state.lifetime)))
    };
    match fault {
        Some(Fault::Refuses(status, code, said)) => Some(refusal(status, code, &said)),
        Some(Fault::Answers(status, body, header)) => {
            let answer = Response::json(status, body);
            Some(match header {
                Some((name, value)) => answer.with(name, &value),
                None => answer,
            })
        }
        Some(Fault::Repeats) => {
            let said = format!("The assertion {} is malformed.", field("client_assertion"));
            Some(refusal(400, 50027, &said))
        }
        Some(Fault::Hangs(wait)) => {
            wait.pass();
            None
        }
        Some(Fault::Closes) => None,
        None => Some(match outcome {
            Ok((token, lifetime)) => {
                let lifetime = lifetime.as_secs();
                Response::json(
                    200,
                    json!({ "token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token })
                        .to_string(),
                )
            }
            Err((status, code, said)) => refusal(status, code, &said),
        }),
    }
}

/// What is wrong with a request: the status, the code, and words.
fn judge<'a>(
    state: &State,
    request: &Request,
    field: &impl Fn(&str) -> &'a str,
) -> Result<(), (u16, u32, String)> {
    let no = |status, code, said: &str| Err((status, code, said.to_owned()));
    if request.method != "POST" || request.path != format!("/{TENANT}/oauth2/v2.0/token") {
        return no(
            400,
            90002,
            "Tenant not found. Check to make sure you have the correct tenant ID.",
        );
    }
    if request.header("content-type") != Some("application/x-www-form-urlencoded") {
        return no(
            400,
            900_144,
            "The request body must contain the following parameter: 'grant_type'.",
        );
    }
    if field("grant_type") != "client_credentials" {
        return no(400, 70003, "The app requested an unsupported grant type.");
    }
    let Some(trusted) = state.trusted.get(field("client_id")) else {
        return no(400, 700_016, "Application was not found in the directory.");
    };
    if field("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
        return no(
            401,
            7_000_216,
            "'client_assertion', 'client_secret' or 'request' is required.",
        );
    }
    if field("client_assertion") != trusted {
        return no(
            401,
            70021,
            "No matching federated identity record found for presented assertion.",
        );
    }
    if field("scope") != format!("{SERVER}/.default") {
        return no(400, 1_002_012, "The provided value for scope is not valid.");
    }
    Ok(())
}

fn refusal(status: u16, code: u32, said: &str) -> Response {
    let (trace, correlation) = (
        "0000aaaa-11bb-cccc-dd22-eeeeee333333",
        "aaaa0000-bb11-2222-33cc-444444dddddd",
    );
    let time = "2026-01-09 02:02:12Z";
    Response::json(
        status,
        json!({
            "error": if status == 401 { "invalid_client" } else { "invalid_request" },
            "error_description": format!(
                "AADSTS{code}: {said}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {time}"
            ),
            "error_codes": [code],
            "timestamp": time,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        })
        .to_string(),
    )
}
