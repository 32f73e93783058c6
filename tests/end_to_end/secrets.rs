//! Secrets stay where they were put: canaries in every credential that the settings know, real stories with servers that
//! repeat what they were sent, and then a look at everything that was written, said, sent or started.

mod annex;
mod site;

use tidegate_testkit::git_server::{Fault, On};
use tidegate_testkit::wait::wait_until;

use self::site::{Site, WRONG_PASSWORD};
use crate::small_fleet::{BRANCHES, LOG, LONG};

#[test]
fn no_canary_is_found_anywhere_but_where_it_was_planted() {
    let Some(site) = Site::new() else {
        crate::crash::say("SKIPPED: canaries, for there is no openssl to make a key");
        return;
    };

    // A password that is refused, and a server that repeats it.
    site.publish("1", "one");
    site.set_password(WRONG_PASSWORD);
    let mut running = site.start();
    running.wait_until_said("refuses our credentials", LONG);
    let echo = |on, status| site.server.fail_next(1, on, Fault::Echo(status));
    echo(On::Listing, 403);
    echo(On::RefsToRead, 500);
    echo(On::PushOf(LOG), 500);
    site.server
        .fail_next(1, On::PushOf(LOG), Fault::EchoingRefusal);
    site.server
        .fail_next(1, On::PushOf(BRANCHES[0]), Fault::EchoingRefusal);
    site.refuse_statuses([500]);
    site.set_right_credentials();

    // A commit that is fine, one that fails and is taken back, one that is no valid config, and one that mends it.
    running.wait_until("the first commit", LONG, || site.rollout_is("Succeeded"));
    site.refuse_statuses([404, 422, 429]);
    site.publish("2-bad", "two");
    echo(On::Listing, 401);
    echo(On::Fetch, 404);
    echo(On::RefsToPush, 403);
    running.wait_until("the revert", LONG, || site.rollout_is("RolledBack"));
    running.wait_until("what people are told of it", LONG, || {
        site.told("dev.tidegate.rollout.reverted.v1")
    });
    site.pull();
    site.publish_invalid();
    running.wait_until_said("is not valid", LONG);
    site.publish("3", "three");
    running.wait_until("the last commit", LONG, || site.rollout_is("Succeeded"));
    running.wait_until("its status", LONG, || site.has_status("success"));
    running.wait_until("a refused sign-in", LONG, || {
        !site.annex.entra.sign_ins().is_empty()
    });
    site.annex.let_sign_in();
    running.wait_until("every answer of every cluster", LONG, || {
        site.all_of_annex_were_asked()
    });
    site.call_every_command();

    // A token that the forge refuses is not shown to it again for a while, so that this comes last.
    site.refuse_statuses([401]);
    site.publish("4", "four");
    running.wait_until("a token that is refused", LONG, || {
        site.forge.faults_left() == 0 && site.rollout_is("Succeeded")
    });
    running.terminate();
    wait_until("its end", LONG, || !running.is_running());
    site.assert_that_everything_was_there_to_be_looked_at(&running);
    let leaks = site.leaks(&running);
    assert!(leaks.is_empty(), "{} leaks: {leaks:#?}", leaks.len());
}
