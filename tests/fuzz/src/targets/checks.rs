//! What holds for whatever is shown to people.

use tidegate_controller::git::trailers::is_treacherous;
use tidegate_renderer::problem::Problem;

/// A message is one line without anything that deceives a reader or moves a terminal's cursor.
pub(super) fn is_plain(message: &str) {
    if let Some(bad) = message.chars().find(|character| is_treacherous(*character)) {
        panic_with(&format!("{bad:?} in the message {message:?}"));
    }
}

/// A message that is not shown as it is: it says what it says in a few lines at most.
pub(super) fn is_bounded(message: &str) {
    assert!(
        message.chars().count() <= 2000,
        "a message of {} bytes",
        message.len()
    );
}

/// Problems are plain, stand inside of their file, and are the same a second time.
pub(super) fn problems(once: &[Problem], twice: &[Problem]) {
    assert_eq!(once, twice, "the same input gives other problems");
    for problem in once {
        is_plain(&problem.to_string());
        if let Some(hint) = &problem.hint {
            is_plain(hint);
        }
        for line in problem.snippet.lines() {
            is_plain(line);
        }
    }
}

/// Ends the target: something that always holds does not.
#[expect(clippy::panic, reason = "this is how a target finds something")]
pub(super) fn panic_with(message: &str) -> ! {
    panic!("{message}")
}
