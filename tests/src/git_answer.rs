//! What a git server answers, changed on purpose: packets, lists of refs, packs, and the files of a dumb server.

use std::fs;
use std::path::Path;

use crate::http::{Request, Response};

/// How a list of refs is wrong. Names are full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A ref has an id that no object has.
    Unknown(&'static str),
    /// A ref has the id of another.
    IdOf(&'static str, &'static str),
    /// A ref is not there.
    Without(&'static str),
    /// No ref is there.
    Empty,
}

/// An id that no object has.
pub const UNKNOWN: &str = "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

/// A packet: what it brings, or a mark of four digits that ends something.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Packet {
    Line(Vec<u8>),
    Mark([u8; 4]),
}

fn packets(mut body: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let Some((head, rest)) = body.split_first_chunk::<4>() {
        let length = usize::from_str_radix(std::str::from_utf8(head).unwrap(), 16).unwrap();
        if length < 4 {
            packets.push(Packet::Mark(*head));
            body = rest;
        } else {
            packets.push(Packet::Line(rest[..length - 4].to_vec()));
            body = &rest[length - 4..];
        }
    }
    packets
}

fn body_of(packets: &[Packet]) -> Vec<u8> {
    let mut body = Vec::new();
    for packet in packets {
        match packet {
            Packet::Mark(mark) => body.extend_from_slice(mark),
            Packet::Line(line) => {
                body.extend_from_slice(format!("{:04x}", line.len() + 4).as_bytes());
                body.extend_from_slice(line);
            }
        }
    }
    body
}

/// A line of a list: `<id> <name>`, behind which capabilities (behind a zero) or `symref-target:<name>` may stand.
struct Listed {
    id: String,
    name: String,
    rest: String,
}

impl Listed {
    fn of(packet: &Packet) -> Option<Self> {
        let Packet::Line(line) = packet else {
            return None;
        };
        let line = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
        let (id, after) = line.split_once(' ')?;
        let end = after.find(['\0', ' ']).unwrap_or(after.len());
        let is_id = id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Self {
            id: id.to_owned(),
            name: after[..end].to_owned(),
            rest: after[end..].to_owned(),
        })
    }

    /// Whether it tells where a ref is: itself, or HEAD that points there.
    fn is_about(&self, name: &str) -> bool {
        self.name == name || self.rest == format!(" symref-target:{name}")
    }

    fn packet(&self) -> Packet {
        Packet::Line(format!("{} {}{}\n", self.id, self.name, self.rest).into_bytes())
    }
}

/// A list of refs, of protocol 2 or of the one before, with a lie in it. `id_of` tells where a ref really is.
pub(crate) fn listing_with(
    body: &[u8],
    lie: Lie,
    id_of: impl Fn(&str) -> Option<String>,
) -> Vec<u8> {
    let all = packets(body);
    let mut told = Vec::new();
    // Of the protocol before 2 the first line tells the capabilities too.
    let mut orphaned = String::new();
    for packet in &all {
        let Some(mut line) = Listed::of(packet) else {
            if *packet == Packet::Mark(*b"0000") && !orphaned.is_empty() {
                let capabilities = std::mem::take(&mut orphaned);
                let none = format!("{} capabilities^{{}}{capabilities}\n", "0".repeat(40));
                told.push(Packet::Line(none.into_bytes()));
            }
            told.push(packet.clone());
            continue;
        };
        let left_out = match lie {
            Lie::Without(name) => line.is_about(name),
            Lie::Empty => true,
            Lie::Unknown(_) | Lie::IdOf(..) => false,
        };
        if left_out {
            if line.rest.starts_with('\0') {
                orphaned = line.rest;
            }
            continue;
        }
        match lie {
            Lie::Unknown(name) if line.is_about(name) => UNKNOWN.clone_into(&mut line.id),
            Lie::IdOf(name, other) if line.is_about(name) => {
                line.id = id_of(other).unwrap_or(line.id);
            }
            _ => {}
        }
        line.rest.push_str(&std::mem::take(&mut orphaned));
        told.push(line.packet());
    }
    body_of(&told)
}

/// Makes the first packet's length no number.
pub(crate) fn garble(body: &mut [u8]) {
    for byte in body.iter_mut().take(4) {
        *byte = b'~';
    }
}

/// Whether a request of protocol 2 asks for the refs.
pub(crate) fn asks_for_refs(body: &[u8]) -> bool {
    contains(body, b"command=ls-refs")
}

/// Whether an answer of protocol 2 brings a pack.
pub(crate) fn brings_a_pack(body: &[u8]) -> bool {
    start_of_pack(body).is_some()
}

fn start_of_pack(body: &[u8]) -> Option<usize> {
    let section = position(body, b"packfile\n")?;
    Some(section + position(&body[section..], b"PACK")?)
}

/// The middle of an answer; of its pack, where it brings one.
pub(crate) fn middle(body: &[u8]) -> usize {
    let start = start_of_pack(body).unwrap_or(0);
    start + (body.len() - start) / 2
}

/// What is left of a push when half of its pack is lost.
pub(crate) fn half_of_a_push(body: &[u8]) -> &[u8] {
    let start = position(body, b"PACK").unwrap_or(body.len());
    &body[..start + (body.len() - start) / 2]
}

/// The answer that refuses every ref of a push with the same words.
pub(crate) fn refusal(push: &[u8], words: &str) -> Response {
    let mut report = vec![Packet::Line(b"unpack ok\n".to_vec())];
    for packet in packets_of_commands(push) {
        let Packet::Line(line) = packet else { continue };
        let line = String::from_utf8_lossy(&line).into_owned();
        let command = line.split('\0').next().unwrap_or_default();
        if let Some(name) = command.trim_end().split(' ').nth(2) {
            report.push(Packet::Line(format!("ng {name} {words}\n").into_bytes()));
        }
    }
    report.push(Packet::Mark(*b"0000"));
    // On the first of the channels into which the answer is divided.
    let mut channel = vec![1];
    channel.extend_from_slice(&body_of(&report));
    Response {
        body: body_of(&[Packet::Line(channel), Packet::Mark(*b"0000")]),
        ..Response::text(200, "")
    }
    .with_type("application/x-git-receive-pack-result")
}

/// The packets before the pack.
fn packets_of_commands(push: &[u8]) -> Vec<Packet> {
    packets(&push[..position(push, b"PACK").unwrap_or(push.len())])
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    position(body, part).is_some()
}

fn position(body: &[u8], part: &[u8]) -> Option<usize> {
    body.windows(part.len()).position(|window| window == part)
}

/// A file of a repo, as any server of files gives it.
pub(crate) fn of_a_dumb_server(root: &Path, request: &Request) -> Response {
    if request.method != "GET" || request.path.contains("..") {
        return Response::text(405, "this server has files to read\n");
    }
    match fs::read(root.join(request.path.trim_start_matches('/'))) {
        Ok(body) => Response {
            body,
            ..Response::text(200, "")
        },
        Err(_) => Response::text(404, "there is no such file\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    fn list(lines: &[String]) -> Vec<u8> {
        let mut packets: Vec<Packet> = lines
            .iter()
            .map(|line| Packet::Line(format!("{line}\n").into_bytes()))
            .collect();
        packets.push(Packet::Mark(*b"0000"));
        body_of(&packets)
    }

    #[test]
    fn a_list_says_what_the_lie_says_and_is_still_a_list() {
        let head = format!("{A} HEAD symref-target:refs/heads/main");
        let (main, other) = (format!("{A} refs/heads/main"), format!("{B} refs/heads/x"));
        let body = list(&[head.clone(), main.clone(), other.clone()]);
        let listing_with = |body: &[u8], lie| listing_with(body, lie, |_| Some(B.to_owned()));
        assert_eq!(
            listing_with(&body, Lie::Without("refs/heads/main")),
            list(std::slice::from_ref(&other))
        );
        assert_eq!(listing_with(&body, Lie::Empty), list(&[]));
        let wrong = listing_with(&body, Lie::IdOf("refs/heads/main", "refs/heads/x"));
        let told = [head.replace(A, B), main.replace(A, B), other.clone()];
        assert_eq!(wrong, list(&told));
        let wrong = listing_with(&body, Lie::Unknown("refs/heads/x"));
        assert_eq!(wrong, list(&[head, main, other.replace(B, UNKNOWN)]));
    }

    #[test]
    fn capabilities_stay_where_the_first_ref_is_left_out() {
        let first = format!("{A} refs/heads/main\0report-status");
        let second = format!("{B} refs/heads/x");
        let body = list(&[first.clone(), second.clone()]);
        let listing_with = |body: &[u8], lie| listing_with(body, lie, |_| None);
        assert_eq!(
            listing_with(&body, Lie::Without("refs/heads/main")),
            list(&[format!("{second}\0report-status")])
        );
        let zeros = "0".repeat(40);
        assert_eq!(
            listing_with(&body, Lie::Empty),
            list(&[format!("{zeros} capabilities^{{}}\0report-status")])
        );
    }

    #[test]
    fn half_of_a_push_has_all_of_its_commands() {
        assert_eq!(half_of_a_push(b"0000PACK1234"), b"0000PACK");
        assert_eq!(half_of_a_push(b"0000"), b"0000");
        assert_eq!(middle(b"packfile\n\x01PACK1234"), 14);
    }
}
