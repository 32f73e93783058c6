//! The sandbox from inside. There is no way back out of it, so each test starts itself a second time, as a process
//! that locks itself in, tries what it can, and reports.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use rlimit::Resource;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde::{Deserialize, Serialize};

use super::*;

/// Set in the process that locks itself in: what it finds outside.
const OUTSIDE: &str = "TIDEGATE_TEST_OUTSIDE";
/// How the line begins in which it reports.
const REPORT: &str = "inside: ";

const EPERM: i32 = libc::EPERM;
const EACCES: i32 = libc::EACCES;

/// What there is to be reached: all of it is there, and listens, while the process inside tries.
#[derive(Debug, Serialize, Deserialize)]
struct Outside {
    parent: u32,
    folder: PathBuf,
    tcp: u16,
    udp: u16,
    abstract_name: String,
}

/// What came of each attempt: 0, or the number of the error.
type Outcomes = BTreeMap<String, i32>;

/// Tries everything that a worker must not be able to do.
fn attempts(outside: &Outside, open: &File) -> Outcomes {
    let parent = Pid::from_raw(outside.parent.cast_signed()).unwrap();
    let socket = outside.folder.join("socket");
    let secret = outside.folder.join("secret");
    // Signal 23 says that there is urgent data, which nobody minds.
    let signal = Signal::URG;
    let tried: [(&str, io::Result<()>); 16] = [
        ("read /etc/passwd", fs::read("/etc/passwd").map(drop)),
        ("read a file", fs::read(&secret).map(drop)),
        ("read an open file", (&*open).read(&mut [0]).map(drop)),
        ("write a file", fs::write(outside.folder.join("new"), "x")),
        ("look at a file", fs::metadata(&secret).map(drop)),
        ("list a folder", fs::read_dir(&outside.folder).map(drop)),
        (
            "connect by TCP",
            TcpStream::connect(("127.0.0.1", outside.tcp)).map(drop),
        ),
        (
            "listen on TCP",
            TcpListener::bind(("127.0.0.1", 0)).map(drop),
        ),
        (
            "send by UDP",
            UdpSocket::bind(("127.0.0.1", 0))
                .and_then(|udp| udp.send_to(b"x", ("127.0.0.1", outside.udp)))
                .map(drop),
        ),
        ("connect to a socket", UnixStream::connect(socket).map(drop)),
        (
            "connect to an abstract socket",
            SocketAddr::from_abstract_name(&outside.abstract_name)
                .and_then(|address| UnixStream::connect_addr(&address))
                .map(drop),
        ),
        (
            "run a program",
            Command::new("/bin/true").status().map(drop),
        ),
        (
            "signal the parent",
            kill_process(parent, signal).map_err(io::Error::from),
        ),
        (
            "open the parent",
            pidfd_open(parent, PidfdFlags::empty())
                .map(drop)
                .map_err(io::Error::from),
        ),
        (
            "read the parent's memory",
            File::open(format!("/proc/{parent}/mem")).map(drop),
        ),
        (
            "set a limit",
            Resource::CORE
                .get()
                .and_then(|(_, hard)| Resource::CORE.set(0, hard)),
        ),
    ];
    tried
        .into_iter()
        .map(|(what, came)| {
            let number = came.err().map_or(0, |error| {
                error.raw_os_error().expect("an error of the kernel")
            });
            (what.to_owned(), number)
        })
        .collect()
}

/// Runs the named test of this file again, in a process of its own that knows itself to be inside.
fn again(test: &str, outside: &Outside) -> Output {
    let (_, module) = module_path!().split_once("::").unwrap();
    Command::new(std::env::current_exe().unwrap())
        // On one thread it would be the harness's own that is locked in.
        .args(["--exact", "--nocapture", "--test-threads=2"])
        .arg(format!("{module}::{test}"))
        .env_clear()
        .env(OUTSIDE, serde_json::to_string(outside).unwrap())
        .output()
        .unwrap()
}

/// What this process finds outside, if it is the one that locks itself in.
fn inside() -> Option<Outside> {
    let outside = std::env::var(OUTSIDE).ok()?;
    Some(serde_json::from_str(&outside).unwrap())
}

/// Has `enter` called in a process of its own, and gives what that said and what came of its attempts then; nothing
/// in that process itself.
fn tried_after<T>(test: &str, enter: fn() -> T) -> Option<(T, Outcomes)>
where
    T: Serialize + for<'a> Deserialize<'a> + Send + 'static,
{
    if let Some(outside) = inside() {
        let open = File::open(outside.folder.join("secret")).unwrap();
        // Nothing else than the sandbox may be what refuses.
        let before = attempts(&outside, &open);
        assert!(before.values().all(|came| *came == 0), "{before:?}");
        let said = enter();
        let report = (said, attempts(&outside, &open));
        // Rendering has a thread of its own.
        let report = thread::spawn(move || serde_json::to_string(&report).unwrap());
        println!("\n{REPORT}{}", report.join().unwrap());
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "a value").unwrap();
    let _unix = UnixListener::bind(folder.path().join("socket")).unwrap();
    let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let udp = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    // As unique as the folder.
    let abstract_name = folder.path().display().to_string();
    let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let outside = Outside {
        parent: std::process::id(),
        folder: folder.path().to_owned(),
        tcp: tcp.local_addr().unwrap().port(),
        udp: udp.local_addr().unwrap().port(),
        abstract_name,
    };
    let output = again(test, &outside);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let report = stdout.lines().find_map(|line| line.strip_prefix(REPORT));
    let report = report.unwrap_or_else(|| panic!("{output:?}"));
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_str(report).unwrap())
}

/// Has `die` called inside the whole sandbox, and gives how that process ended.
fn death_inside(test: &str, die: fn()) -> Option<Output> {
    if inside().is_some() {
        enter();
        die();
        return None;
    }
    let nothing = Outside {
        parent: std::process::id(),
        folder: PathBuf::new(),
        tcp: 0,
        udp: 0,
        abstract_name: String::new(),
    };
    Some(again(test, &nothing))
}

/// What Landlock of this version refuses, and how.
fn refused_by_landlock(version: i32) -> Outcomes {
    let refused: [(&str, i32, i32); 10] = [
        ("read /etc/passwd", 1, EACCES),
        ("read a file", 1, EACCES),
        ("read the parent's memory", 1, EACCES),
        ("write a file", 1, EACCES),
        ("list a folder", 1, EACCES),
        ("run a program", 1, EACCES),
        ("connect by TCP", 4, EACCES),
        ("listen on TCP", 4, EACCES),
        ("connect to an abstract socket", 6, EPERM),
        ("signal the parent", 6, EPERM),
    ];
    refused
        .into_iter()
        .filter(|(_, since, _)| *since <= version)
        .map(|(what, _, how)| (what.to_owned(), how))
        .collect()
}

#[test]
fn landlock_alone_keeps_files_tcp_and_other_processes_out_of_reach() {
    let enter = || restrict_reach().map(|version| version as i32);
    let Some((said, came)) = tried_after(
        "landlock_alone_keeps_files_tcp_and_other_processes_out_of_reach",
        enter,
    ) else {
        return;
    };
    // A kernel without it must not be said to have it.
    let wanted = refused_by_landlock(said.unwrap_or(0));
    let refused: Outcomes = came
        .into_iter()
        .filter(|(what, came)| *came != 0 || wanted.contains_key(what))
        .collect();
    assert_eq!(refused, wanted);
}

#[test]
fn the_filter_alone_refuses_every_way_out() {
    let enter = || filter_system_calls().map_err(|error| error.to_string());
    let Some((said, came)) = tried_after("the_filter_alone_refuses_every_way_out", enter) else {
        return;
    };
    assert_eq!(said, Ok(()));
    assert!(came.values().all(|came| *came == EPERM), "{came:?}");
}

#[test]
fn both_layers_are_entered_and_what_is_missing_is_named() {
    let test = "both_layers_are_entered_and_what_is_missing_is_named";
    let Some((missing, came)) = tried_after(test, enter) else {
        return;
    };
    assert_eq!(missing.seccomp, None);
    assert!(came.values().all(|came| *came == EPERM), "{came:?}");
    // Twice in one process: what Landlock says of itself is what it says alone.
    let Some((alone, _)) = tried_after(
        "landlock_alone_keeps_files_tcp_and_other_processes_out_of_reach",
        || restrict_reach().map(|version| version as i32),
    ) else {
        return;
    };
    assert_eq!(missing.landlock, alone.err());
}

#[test]
fn a_stack_overflow_is_told_from_inside() {
    fn descend(depth: u64) -> u64 {
        let kept = std::hint::black_box([depth; 512]);
        if kept[0] == u64::MAX {
            return 0;
        }
        descend(depth + 1) + kept[0]
    }
    let die = || {
        let thread = thread::Builder::new().stack_size(1 << 20);
        let _ = thread.spawn(|| descend(0)).unwrap().join();
    };
    let Some(output) = death_inside("a_stack_overflow_is_told_from_inside", die) else {
        return;
    };
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    let last_words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        crate::render_worker::reason(output.status, &last_words).unwrap(),
        "templates nest deeper than the stack allows"
    );
}

#[test]
fn the_end_of_memory_is_told_from_inside() {
    let die = || drop(std::hint::black_box(vec![1_u8; 1 << 62]));
    let Some(output) = death_inside("the_end_of_memory_is_told_from_inside", die) else {
        return;
    };
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    let last_words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        crate::render_worker::reason(output.status, &last_words).unwrap(),
        "it needed more than 2048 MiB of memory"
    );
}

#[test]
fn a_panic_is_told_from_inside() {
    let Some(output) = death_inside("a_panic_is_told_from_inside", || panic!("at the disco"))
    else {
        return;
    };
    // The harness's exit code for a test that failed: nothing was killed.
    assert_eq!(output.status.code(), Some(101), "{output:?}");
    let last_words = String::from_utf8_lossy(&output.stderr);
    assert!(last_words.contains("at the disco"), "{last_words}");
}

#[test]
fn only_the_first_line_is_heard_as_a_notice() {
    let missing = Missing {
        landlock: Some("not\nthere".to_owned()),
        seccomp: None,
    };
    let notice = format!("{NOTICE}{}\n", serde_json::to_string(&missing).unwrap());
    let hear = |said: &str| {
        let (mut stderr, mut words) = (said.as_bytes(), Vec::new());
        let heard = Missing::heard(&mut stderr, &mut words);
        (heard, String::from_utf8(words).unwrap(), stderr.to_vec())
    };
    let (heard, words, left) = hear(&format!("{notice}and more"));
    assert_eq!((heard, words.as_str()), (Some(missing), ""));
    assert_eq!(left, b"and more");
    for other in ["", "memory allocation of 1 byte failed\n", NOTICE] {
        assert_eq!(hear(other), (None, other.to_owned(), Vec::new()));
    }
    let late = format!("thread panicked\n{notice}");
    assert_eq!(
        hear(&late),
        (None, "thread panicked\n".to_owned(), notice.into_bytes())
    );
}
