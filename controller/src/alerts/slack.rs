//! A channel of Slack, told through an incoming webhook.
//!
//! Source: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>, and the limits of blocks in
//! <https://docs.slack.dev/reference/block-kit/blocks>.

use std::path::PathBuf;

use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

use super::event::Event;
use super::sink::{Delivery, Http, Sending, Sink};
use crate::secret::SecretSource;
use crate::settings::AlertKind;
use crate::status::rfc3339;

/// The longest header, in characters.
const LONGEST_HEADER: usize = 150;
/// The longest text of a section that we send; Slack takes 3000 characters.
const LONGEST_SECTION: usize = 2900;
/// The longest field that we send; Slack takes 2000 characters.
const LONGEST_FIELD: usize = 1900;
/// The longest word that names an error.
const LONGEST_WORD: usize = 40;
/// The longest address that we send; Slack takes 3000 characters, but a field is to hold more than a link.
const LONGEST_ADDRESS: usize = 1500;
/// Most regions that are named.
const NAMED_REGIONS: usize = 20;

/// A channel of Slack.
#[derive(Debug)]
pub(super) struct Slack {
    http: Http,
    url: SecretSource,
}

impl Slack {
    pub(super) fn new(http: Http, url: PathBuf) -> Self {
        Self {
            http,
            url: SecretSource::File(url),
        }
    }

    async fn deliver(&self, event: &Event) -> Delivery {
        let later = |why: String| Delivery::Later { why, after: None };
        let url = match self.url.read() {
            Ok(url) => url,
            Err(error) => return later(error.to_string()),
        };
        let Ok(url) = Url::parse(url.reveal().trim()) else {
            return later(format!("{} holds no URL", self.url));
        };
        let request = match self.http.post(&url) {
            Ok(request) => request.json(&message(event)),
            Err(delivery) => return delivery,
        };
        match self.http.ask(request).await {
            Ok(answer) if answer.status == StatusCode::OK && answer.body == "ok" => Delivery::Done,
            Ok(answer)
                if answer.status.is_server_error()
                    || answer.status == StatusCode::TOO_MANY_REQUESTS =>
            {
                Delivery::Later {
                    why: format!("Slack answers {}", answer.status),
                    after: answer.after,
                }
            }
            // Not Slack, but a page in between: what it says about this alert is nothing.
            Ok(answer) if answer.status == StatusCode::OK && answer.body.starts_with('<') => {
                later("what answers is not Slack".to_owned())
            }
            Ok(answer) => Delivery::Refused {
                why: format!("Slack answers {} {}", answer.status, word(&answer.body)),
            },
            Err(delivery) => delivery,
        }
    }
}

impl Sink for Slack {
    fn send<'a>(&'a self, event: &'a Event) -> Sending<'a> {
        Box::pin(self.deliver(event))
    }
}

/// The word by which Slack names an error, such as `channel_is_archived`. Whatever else stands there is not repeated: it may
/// be our request, and its address is secret.
fn word(body: &str) -> &str {
    let is_word = body.len() <= LONGEST_WORD
        && body
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_word && !body.is_empty() {
        body
    } else {
        "with words that are not Slack's"
    }
}

/// What is sent: blocks, and a text for where no blocks are shown.
pub(crate) fn message(event: &Event) -> Value {
    let title = title(event);
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": cut(&title, LONGEST_HEADER), "emoji": false } }),
    ];
    let fields = fields(event);
    if !fields.is_empty() {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    blocks.push(section(&format!("*Why*\n{}", escape(&event.message))));
    if !event.asked.is_empty() {
        blocks.push(section(&format!("*Asked for*\n{}", asked(event))));
    }
    if !event.commands.is_empty() {
        let lines: Vec<String> = event
            .commands
            .iter()
            .map(|command| format!("`{}`", escape(&command.replace('`', "'"))))
            .collect();
        let needs_somebody = matches!(
            event.kind,
            AlertKind::Held | AlertKind::Drift | AlertKind::RevertIncomplete | AlertKind::Stalled
        );
        let name = if needs_somebody {
            "What ends it"
        } else {
            "What you can do"
        };
        blocks.push(section(&format!("*{name}*\n{}", lines.join("\n"))));
    }
    blocks.push(
        json!({ "type": "context", "elements": [mrkdwn(&cut(&context(event), LONGEST_SECTION))] }),
    );
    let buttons = buttons(event);
    if !buttons.is_empty() {
        blocks.push(json!({ "type": "actions", "elements": buttons }));
    }
    json!({ "text": cut(&escape(&format!("{title}: {}", event.message)), LONGEST_SECTION), "blocks": blocks })
}

fn title(event: &Event) -> String {
    let place = match (&event.region, &event.wave) {
        (Some(region), Some(wave)) => format!(" in {region} (wave {wave})"),
        (None, Some(wave)) => format!(" (wave {wave})"),
        (Some(region), None) => format!(" in {region}"),
        (None, None) => String::new(),
    };
    let fleet = &event.fleet;
    let reason = event.reason.as_deref().unwrap_or("held");
    let title = match event.kind {
        AlertKind::Opened => format!("Rollout begins: {fleet}"),
        AlertKind::Succeeded => format!("Rolled out: {fleet}"),
        AlertKind::Held => format!("Held: {fleet}{place}: {reason}"),
        AlertKind::Failed if event.goes_on => {
            format!("Failed, the rollout goes on: {fleet}{place}")
        }
        AlertKind::Failed => format!("Failed, rolling back: {fleet}{place}"),
        AlertKind::Reverted => format!("Rolled back: {fleet}{place}"),
        AlertKind::RevertIncomplete => format!("Rollback incomplete: {fleet}{place}"),
        AlertKind::Drift => format!("Somebody else changed a branch: {fleet}{place}"),
        AlertKind::Stalled => format!("STALLED: {fleet}"),
    };
    if event.reminder == 0 {
        title
    } else {
        format!("Still: {title}")
    }
}

fn fields(event: &Event) -> Vec<Value> {
    let mut fields = Vec::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            fields.push(mrkdwn(&cut(&format!("*{name}*\n{value}"), LONGEST_FIELD)));
        }
    };
    if let Some(source) = event.source {
        let short = source.short(8);
        let shown = match web_address(event.links.commit.as_ref()) {
            Some(url) => format!("<{}|{short}>", escape(url)),
            None => format!("`{short}`"),
        };
        let by = event.links.author.as_ref().map(|name| format!("@{name}"));
        let by = by.unwrap_or_else(|| event.author.clone());
        let by = if by.is_empty() {
            by
        } else {
            format!(" by {}", escape(&by))
        };
        let subject = escape(&event.subject);
        field(
            "Commit",
            format!("{shown} {subject}{by}").trim_end().to_owned(),
        );
    }
    if let Some(gate) = &event.gate {
        field("Failed gate", escape(gate));
    }
    if let Some(revert) = event.revert {
        field("Revert", format!("`{}`", revert.short(8)));
    }
    let is_taken_back = !event.goes_on
        && matches!(
            event.kind,
            AlertKind::Failed | AlertKind::Reverted | AlertKind::RevertIncomplete
        );
    if let Some(good) = event.last_good.filter(|_| is_taken_back) {
        field("Given back", format!("the trees of `{}`", good.short(8)));
    }
    if let Some(opened) = event.opened.filter(|_| is_taken_back) {
        let minutes = event.at.saturating_sub(opened).max(0).div_euclid(60);
        field("Exposed for", format!("at most {} min", minutes + 1));
    }
    if !event.regions.is_empty() {
        let mut named: Vec<&str> = event.regions.iter().map(String::as_str).collect();
        let more = named.len().saturating_sub(NAMED_REGIONS);
        named.truncate(NAMED_REGIONS);
        let more = if more == 0 {
            String::new()
        } else {
            format!(" and {more} more")
        };
        field(
            "Regions",
            format!(
                "{}: {}{more}",
                event.regions.len(),
                escape(&named.join(", "))
            ),
        );
    }
    fields
}

fn asked(event: &Event) -> String {
    let lines: Vec<String> = event
        .asked
        .iter()
        .map(|asked| {
            let proof = match &asked.verified {
                Some(principal) => format!("signature of {principal}"),
                None => "not verified".to_owned(),
            };
            let why = if asked.reason.is_empty() {
                "no reason given"
            } else {
                &asked.reason
            };
            escape(&format!(
                "{:?} by {} ({proof}), {}: {why}",
                asked.verb,
                asked.by,
                rfc3339(asked.at)
            ))
        })
        .collect();
    lines.join("\n")
}

fn context(event: &Event) -> String {
    let mut parts = Vec::new();
    if let Some(rollout) = &event.rollout {
        parts.push(format!("rollout `{}`", escape(rollout)));
    }
    parts.push(rfc3339(event.at));
    if event.reminder > 0 {
        parts.push(format!("reminder {}", event.reminder));
    }
    parts.push(format!("id {}", escape(&event.id)));
    parts.join(" · ")
}

/// A page's address, if Slack takes it for one. A button with another URL makes it refuse the whole message, and in a link
/// another text may call a whole channel.
fn web_address(address: Option<&String>) -> Option<&String> {
    address.filter(|address| {
        escape(address).len() <= LONGEST_ADDRESS
            && !address.contains('|')
            && Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    })
}

/// Those whose page is not known are left out.
fn buttons(event: &Event) -> Vec<Value> {
    let button = |name: &str, url: &Option<String>| {
        web_address(url.as_ref()).map(|url| {
            json!({ "type": "button", "text": { "type": "plain_text", "text": name, "emoji": false }, "url": url })
        })
    };
    [
        button("Commit", &event.links.commit),
        button("Pull request", &event.links.pull_request),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": mrkdwn(&cut(text, LONGEST_SECTION)) })
}

fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text })
}

/// What would be markup for Slack: everything that comes from outside goes through here.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => {
            let mut cut: String = text.chars().take(longest.saturating_sub(1)).collect();
            cut.push('…');
            cut
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::event::Links;
    use crate::alerts::tests::event;

    #[test]
    fn a_rollback_says_what_where_why_and_what_ends_it() {
        let mut event = event(AlertKind::Reverted);
        event.links = Links {
            commit: Some("https://git.example.com/c/1".to_owned()),
            pull_request: None,
            author: Some("ann".to_owned()),
        };
        insta::assert_snapshot!(serde_json::to_string_pretty(&message(&event)).unwrap());
    }

    #[test]
    fn what_comes_from_outside_is_no_markup_and_fits() {
        let mut event = event(AlertKind::Held);
        event.subject = "<!channel> & <https://evil.example|click>".to_owned();
        event.message = "<".repeat(10_000);
        event.regions = (0..5000).map(|number| format!("region-{number}")).collect();
        event.reminder = 2;
        event.rollout = Some("<".repeat(10_000));
        event.id = "<!here>".to_owned();
        event.source = Some(tidegate_waves::oid::Oid::ZERO);
        event.links.commit = Some(format!("https://git.example.com/?{}", "&".repeat(1400)));
        let message = message(&event);
        let text = message.to_string();
        assert!(!text.contains('<'), "{text}");
        assert!(text.contains("Still: Held"), "{text}");
        for block in message["blocks"].as_array().unwrap() {
            let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
            assert!(length(&block["text"]["text"]) <= 3000);
            for field in block["fields"].as_array().into_iter().flatten() {
                assert!(length(&field["text"]) <= 2000);
            }
            for element in block["elements"].as_array().into_iter().flatten() {
                assert!(length(&element["text"]) <= 3000);
            }
        }
        assert!(message["blocks"].as_array().unwrap().len() <= 50);
    }

    #[test]
    fn only_addresses_of_pages_become_links_and_buttons() {
        for address in [
            "!channel",
            "",
            "javascript:x",
            "https://",
            "https://a/|x",
            "@ann",
        ] {
            let mut event = event(AlertKind::Failed);
            event.source = Some(tidegate_waves::oid::Oid::ZERO);
            event.links.commit = Some(address.to_owned());
            event.links.pull_request = Some(address.to_owned());
            let text = message(&event).to_string();
            assert!(!text.contains('<') && !text.contains("button"), "{text}");
        }
    }

    #[test]
    fn every_kind_has_a_title_of_its_own() {
        use AlertKind::{
            Drift, Failed, Held, Opened, RevertIncomplete, Reverted, Stalled, Succeeded,
        };
        let kinds = [
            Opened,
            Succeeded,
            Held,
            Failed,
            Reverted,
            RevertIncomplete,
            Drift,
            Stalled,
        ];
        let titles: std::collections::BTreeSet<String> =
            kinds.into_iter().map(|kind| title(&event(kind))).collect();
        assert_eq!(titles.len(), kinds.len());
    }
}
