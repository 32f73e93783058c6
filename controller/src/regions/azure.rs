//! Signing in at Entra ID by workload identity, in place of the plugin `kubelogin`: a pod's own token is exchanged for one
//! that AKS clusters accept.
//!
//! All clusters of an identity share one token. It is renewed five minutes before it ends, in the background, and stays in
//! use for as long as it is good while that fails. At most one sign-in of an identity is under way: who asks meanwhile waits
//! for that one, and gets its failure too, so that a hundred clusters that Entra ID does not answer cost one deadline.

mod entra;
mod error;
mod kubelogin;
mod transport;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kube::config::AuthInfo;
use reqwest::Url;

use self::error::SignInError;
use crate::secret::Secret;

/// How long a sign-in may take, with all that belongs to it.
const SIGNED_IN_WITHIN: Duration = Duration::from_secs(10);
/// So long before its end a token is renewed; where it is given for less than twice of that, at half of its time.
const RENEWED_BEFORE_END: Duration = Duration::from_secs(300);
/// So long a failure is the answer to all who ask.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// The same, while there is a token that is still good.
const NOT_RENEWED_FOR: Duration = Duration::from_secs(30);
/// A token that is younger and refused is not refused for its age: another one would be too.
const TOO_YOUNG_TO_RENEW: Duration = Duration::from_secs(60);

/// Who signs in where, and for which service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    authority: Url,
    tenant: String,
    client: String,
    /// Has the pod's own token.
    token_file: PathBuf,
    /// The service whose tokens these are; that of AKS is the same for all its clusters.
    server: String,
}

/// A token, as all clients share it.
#[derive(Clone)]
pub(super) struct Token(Arc<Issued>);

struct Issued {
    text: Secret,
    got: Instant,
    renewed_from: Instant,
    ends: Instant,
}

impl Token {
    /// One that was given just now, for so long.
    fn new(text: Secret, lifetime: Duration) -> Self {
        let got = Instant::now();
        let spare = RENEWED_BEFORE_END.min(lifetime / 2);
        Self(Arc::new(Issued {
            text,
            got,
            renewed_from: got + lifetime.saturating_sub(spare),
            ends: got + lifetime,
        }))
    }

    /// Whether both are one, and not only alike.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What a client signs its questions with.
pub(super) struct SignedIn {
    identity: Identity,
    token: Token,
}

/// How long things take; tests are in a hurry.
#[derive(Debug, Clone, Copy)]
struct Limits {
    signed_in_within: Duration,
    failed_for: Duration,
    not_renewed_for: Duration,
    too_young_to_renew: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            signed_in_within: SIGNED_IN_WITHIN,
            failed_for: FAILED_FOR,
            not_renewed_for: NOT_RENEWED_FOR,
            too_young_to_renew: TOO_YOUNG_TO_RENEW,
        }
    }
}

/// Looks up an environment variable.
type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The identities that sign in, each with its token.
pub(super) struct SignIns {
    environment: Box<Environment>,
    limits: Limits,
    /// Made at the first sign-in: few have a use for it, and it reads the system's certificates.
    http: OnceLock<reqwest::Client>,
    known: Mutex<BTreeMap<Identity, Arc<Known>>>,
}

#[derive(Default)]
struct Known {
    state: Mutex<State>,
    /// Held by who signs in.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Until when the failure is the answer.
    failed: Option<(SignInError, Instant)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// A token that is not over.
    fn good(&self) -> Option<Token> {
        let state = lock(&self.state);
        let token = state.token.as_ref()?;
        (Instant::now() < token.0.ends).then(|| token.clone())
    }

    /// The failure of a moment ago.
    fn failure(&self) -> Option<SignInError> {
        let state = lock(&self.state);
        let (error, until) = state.failed.as_ref()?;
        (Instant::now() < *until).then(|| error.clone())
    }
}

impl SignIns {
    /// Sign-ins with what this process's environment says.
    pub(super) fn new() -> Self {
        Self {
            environment: Box::new(|name| std::env::var(name).ok()),
            limits: Limits::default(),
            http: OnceLock::new(),
            known: Mutex::default(),
        }
    }

    /// Puts a token in the place of a kubeconfig's plugin; `None`, and nothing changed, where the plugin is not for us.
    pub(super) async fn replace_plugin(
        self: &Arc<Self>,
        user: &mut AuthInfo,
    ) -> Result<Option<SignedIn>, SignInError> {
        let Some(identity) = kubelogin::identity(user, &self.environment) else {
            return Ok(None);
        };
        let identity = identity?;
        let token = self.token(&identity).await?;
        user.exec = None;
        user.token = Some(token.0.text.reveal().to_owned().into());
        Ok(Some(SignedIn { identity, token }))
    }

    /// Whether this is still the token to use. Where it soon ends, another one is got meanwhile.
    pub(super) fn is_current(self: &Arc<Self>, used: &SignedIn) -> bool {
        let token = self.current(&used.identity);
        token.is_some_and(|token| token.is(&used.token))
    }

    /// Forgets a token that a cluster did not accept.
    pub(super) fn refused(&self, used: &SignedIn) {
        let known = self.known(&used.identity);
        let mut state = lock(&known.state);
        let is_refused = |token: &mut Token| {
            token.is(&used.token) && token.0.got.elapsed() >= self.limits.too_young_to_renew
        };
        state.token.take_if(is_refused);
    }

    fn known(&self, identity: &Identity) -> Arc<Known> {
        let mut known = lock(&self.known);
        Arc::clone(known.entry(identity.clone()).or_default())
    }

    /// A token that is good, if there is one.
    fn current(self: &Arc<Self>, identity: &Identity) -> Option<Token> {
        let known = self.known(identity);
        let token = known.good()?;
        if Instant::now() >= token.0.renewed_from
            && known.failure().is_none()
            && let Ok(turn) = Arc::clone(&known.turn).try_lock_owned()
        {
            let (this, identity, ends) = (Arc::clone(self), identity.clone(), token.0.ends);
            tokio::spawn(async move {
                if let Err(error) = this.sign_in(&identity, &known).await {
                    let left = ends.saturating_duration_since(Instant::now());
                    tracing::warn!(
                        %error,
                        seconds_left = left.as_secs(),
                        "a token of Entra ID cannot be renewed; it stays in use until it ends"
                    );
                }
                drop(turn);
            });
        }
        Some(token)
    }

    async fn token(self: &Arc<Self>, identity: &Identity) -> Result<Token, SignInError> {
        if let Some(token) = self.current(identity) {
            return Ok(token);
        }
        let known = self.known(identity);
        let _turn = known.turn.lock().await;
        // Whoever had the turn before may have got one, or none.
        if let Some(token) = known.good() {
            return Ok(token);
        }
        if let Some(error) = known.failure() {
            return Err(error);
        }
        self.sign_in(identity, &known).await
    }

    /// Signs in, and remembers how it went. The caller has the turn.
    async fn sign_in(&self, identity: &Identity, known: &Known) -> Result<Token, SignInError> {
        let within = self.limits.signed_in_within;
        let outcome = tokio::time::timeout(within, async {
            entra::sign_in(self.http()?, identity).await
        });
        let outcome = outcome.await.unwrap_or_else(|_| {
            Err(SignInError::Late {
                host: identity.host(),
                within,
            })
        });
        let mut state = lock(&known.state);
        match &outcome {
            Ok(token) => {
                state.token = Some(token.clone());
                state.failed = None;
            }
            Err(error) => {
                let pause = match error {
                    SignInError::Busy { pause } => *pause,
                    _ if state.token.is_some() => self.limits.not_renewed_for,
                    _ => self.limits.failed_for,
                };
                state.failed = Some((error.clone(), Instant::now() + pause));
            }
        }
        outcome
    }

    fn http(&self) -> Result<reqwest::Client, SignInError> {
        if let Some(http) = self.http.get() {
            return Ok(http.clone());
        }
        let http = transport::builder()
            .build()
            .map_err(|_| SignInError::NoCertificates)?;
        Ok(self.http.get_or_init(|| http).clone())
    }
}

impl Identity {
    /// Where it signs in, for messages.
    fn host(&self) -> String {
        self.authority.host_str().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests;
