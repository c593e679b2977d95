//! What is asked before anything else: which page of the web a request comes from.

use harness::dialect::{Dialect, texts};
use harness::stack::Stack;

const OURS: &str = "https://chat.example";

/// All but ours, however much they look like it.
const FOREIGN: [&str; 10] = [
    "https://evil.example",
    "null",
    "https://chat.example.evil.example",
    "https://evilchat.example",
    "https://sub.chat.example",
    "https://CHAT.example",
    "http://chat.example",
    "https://chat.example:8443",
    "https://chat.example/",
    "",
];

pub(super) async fn s01_a_foreign_page_gets_neither_an_answer_nor_a_socket(dialect: Dialect) {
    let stack = Stack::builder().var("ALLOWED_ORIGINS", OURS).start().await;
    let (ana, _) = dialect.pair(&stack).await;
    let before = ana.sends("before").await;
    let cookie = format!("hubbub_session={}", ana.person.token);
    let bearer = format!("Bearer {}", ana.person.token);
    let bare = ana.with_token("");
    let credentials = [("cookie", cookie.as_str()), ("authorization", bearer.as_str())];
    for origin in FOREIGN {
        for credential in credentials {
            let headers = [("origin", origin), credential];
            let refused = bare.knocks(&headers).await.err();
            refused.unwrap_or_else(|| panic!("{origin} got a socket")).refused(403, "forbidden");
            for refused in [bare.sends_with("hi", &headers).await, bare.newest_page_with(&headers).await] {
                assert!(refused.header("access-control-allow-origin").is_none(), "{origin}: {refused:?}");
                refused.refused(403, "forbidden");
            }
        }
    }
    for credential in credentials {
        let headers = [("origin", OURS), credential];
        let opened = bare.knocks(&headers).await;
        drop(opened.unwrap_or_else(|refusal| panic!("our own page is let in: {refusal:?}")));
        let sent = bare.sends_with("hi", &headers).await;
        assert!(bare.is_accepted(&sent), "{sent:?}");
        bare.newest_page_with(&headers).await.ok();
    }
    assert_eq!(texts(&ana.reads().await), [before.text.as_str(), "hi", "hi"]);
    stack.finish().await;
}
