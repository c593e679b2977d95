//! What is refused is told by a stable code, over REST and by socket alike; it costs neither the socket nor anything that was
//! accepted.

use harness::children::{PATIENCE, eventually};
use harness::dialect::{Dialect, Line, Nonsense, Talker, Why, texts};
use harness::raw::{BINARY, TEXT, frame};
use harness::stack::Stack;
use serde_json::{Value, json};

use super::rows_are;

/// A text, and its name if it is the name that is wrong, must be refused by both.
async fn both_refuse(ana: &Talker, line: &mut Line, text: &str, nonce: &str, (status, code): (u16, &str)) {
    ana.may_not(text, Some(nonce)).await.refused(status, code);
    line.says(text, nonce).await;
    let error = line.is_refused().await;
    assert_eq!(error["code"], code, "{text:.40}: {error}");
    // Said back only if it can be a name: nobody makes us send large or unprintable things.
    let is_name = (1..=64).contains(&nonce.len()) && !nonce.contains(char::is_control);
    let told = if is_name { json!(nonce) } else { Value::Null };
    assert_eq!(error["client_msg_id"], told, "{text:.40}: {error}");
}

async fn sensible_but_wrong(dialect: Dialect, ana: &Talker, line: &mut Line) {
    let (long, wide) = ("x".repeat(dialect.longest() + 1), "\u{1f30d}".repeat(dialect.longest() + 1));
    for (text, status, code) in [
        ("", 400, "empty"),
        (" \n\t\u{a0}", 400, "empty"),
        (long.as_str(), 422, "too_long"),
        (wide.as_str(), 422, "too_long"),
        ("a\0b", 422, "invalid"),
    ] {
        both_refuse(ana, line, text, "n", (status, code)).await;
    }
    let long_name = "n".repeat(65);
    for nonce in ["", "a\nb", long_name.as_str()] {
        both_refuse(ana, line, "x", nonce, (422, "invalid")).await;
    }
}

async fn senseless(ana: &Talker, line: &mut Line) {
    for nonsense in Nonsense::ALL {
        ana.sends_nonsense(nonsense).await.refused(422, "invalid");
        line.says_nonsense(nonsense).await;
        assert_eq!(line.is_refused().await["code"], "invalid", "{nonsense:?}");
    }
    // What only the node may say, what there is not, and what is no type at all.
    let long = "x".repeat(10_000);
    for kind in [
        json!("new_message"),
        json!("resync"),
        json!("error"),
        json!(""),
        json!(long),
        json!("Message"),
        json!(1),
        Value::Null,
    ] {
        line.says_of_type(&kind).await;
        assert_eq!(line.is_refused().await["code"], "invalid", "{kind:.40}");
    }
    line.sends_binary(vec![0; 100]).await;
    assert_eq!(line.is_refused().await["code"], "invalid", "binary frames");
}

pub(super) async fn s21_bad_input_is_told_by_a_code_and_loses_nothing(dialect: Dialect) {
    let stack = Stack::start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let (mut line, mut hearer) = (ana.opens().await, ben.opens().await);
    let before = ana.sends("before").await;
    assert_eq!(line.hears_one().await, before);
    sensible_but_wrong(dialect, &ana, &mut line).await;
    senseless(&ana, &mut line).await;
    // A name that was refused with one text is free for another.
    let longest = "\u{1f30d}".repeat(dialect.longest());
    line.says(&longest, "longest").await;
    let said = line.hears_one().await;
    assert_eq!(said.text, longest, "the socket is still good, and nothing of it was relayed");
    let after = ana.tries("after", Some("n")).await.expect("accepted");
    let all = [before, said, after];
    assert_eq!(hearer.hears(3).await, all, "nobody else notices");
    assert_eq!(ben.reads().await, all);
    rows_are(&stack, &all).await;
    drop((line, hearer));
    stack.finish().await;
}

pub(super) async fn s17_a_message_over_64_kib_ends_the_socket(dialect: Dialect) {
    let stack = Stack::start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut hearer = ben.opens().await;
    let too_large = dialect.ending(Why::TooLarge);
    for bytes in [
        frame(TEXT, ana.frame_of(65_537).as_bytes()),
        frame(BINARY, &vec![0; 65_537]),
        // A length that is only claimed reserves nothing and ends the socket as well.
        [&[TEXT, 0x80 | 127][..], &(1_u64 << 40).to_be_bytes()[..]].concat(),
    ] {
        let mut raw = ana.opens_raw().await;
        raw.send(&bytes).await;
        assert_eq!(raw.close_code().await, too_large);
    }
    let mut raw = ana.opens_raw().await;
    raw.send(&frame(TEXT, ana.frame_of(65_536).as_bytes())).await;
    assert_eq!(hearer.hears_one().await.text, "within a large frame", "what fits is taken");
    assert_eq!(ben.reads().await.len(), 1);
    drop((hearer, raw));
    stack.finish().await;
}

/// A refusal that leaves the outcome open costs nothing: the same name again, and it is there once.
pub(super) async fn without_the_log_people_are_told_to_try_again(dialect: Dialect) {
    let mut stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut line = ana.at(2).opens().await;
    let before = ben.sends("before").await;
    assert_eq!(line.hears_one().await, before);
    stack.stored().await;
    stack.servers.log.kill9();

    ana.may_not("by REST", Some("r")).await.refused(503, "unavailable");
    line.says("by socket", "s").await;
    let error = line.is_refused().await;
    let told = (error["code"].as_str(), error["client_msg_id"].as_str());
    assert_eq!(told, (Some("unavailable"), Some("s")));
    let page = ben.newest_page().await.ok();
    assert_eq!(page["incomplete"], true, "what can't be complete says so: {page}");
    assert_eq!(texts(&ben.on(&page)), ["before"]);

    stack.servers.log.start().await;
    let accepted = eventually(PATIENCE, async || match ana.tries("by REST", Some("r")).await {
        Ok(accepted) => Some(accepted),
        Err(answer) => {
            answer.refused(503, "unavailable");
            None
        }
    });
    let by_rest = accepted.await.expect("accepted in the end");
    line.says("by socket", "s").await;
    let heard = line.hears(2).await;
    assert_eq!((&heard[0], heard[1].text.as_str()), (&by_rest, "by socket"), "the socket stayed");
    let all = [&[before][..], &heard[..]].concat();
    rows_are(&stack, &all).await;
    let complete = eventually(PATIENCE, async || {
        let page = ben.at(2).newest_page().await.ok();
        page.get("incomplete").is_none().then(|| ben.on(&page))
    });
    assert_eq!(complete.await.expect("pages are complete again"), all);
    drop(line);
    stack.finish().await;
}
