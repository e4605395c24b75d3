//! The web pages come under their policy, and answers are readable for members' pages alone.

mod support;

use reqwest::header::{HeaderMap, ORIGIN};
use reqwest::{Method, StatusCode};
use support::TestNode;

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_carry_a_policy_of_their_own_and_a_missing_script_is_no_page() {
    let node = TestNode::start().await;
    let caller = node.caller();
    let get = async |path: &str| {
        let url = format!("{}{path}", caller.base);
        caller.http.get(url).send().await.unwrap()
    };
    let mut policies = Vec::new();
    for path in ["/", "/record/ecg"] {
        let page = get(path).await;
        assert_eq!(page.status(), StatusCode::OK);
        let headers = page.headers().clone();
        assert_eq!(text(&headers, "content-type"), "text/html; charset=utf-8");
        assert_eq!(text(&headers, "cross-origin-opener-policy"), "same-origin");
        assert_eq!(text(&headers, "x-content-type-options"), "nosniff");
        let policy = text(&headers, "content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let body = page.text().await.unwrap();
        assert!(body.contains("Salus"), "{body}");
        assert!(!body.contains("__CSP_NONCE__"), "{body}");
        let built = body.contains("/assets/");
        assert_eq!(built, policy.contains("'nonce-"), "{policy}");
        assert_eq!(
            built,
            policy.contains("connect-src 'self' https://localhost;")
        );
        policies.push((built, policy));
    }
    let (built, first) = &policies[0];
    assert_eq!(*built, *first != policies[1].1, "a nonce has one use");

    for path in ["/assets/gone.js", "/api", "/api/v2/me"] {
        let answer = get(path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        let kind = text(answer.headers(), "content-type");
        assert_eq!(kind, "application/problem+json", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_members_may_read_answers_and_pages_of_others_may_not() {
    let node = TestNode::start().await;
    let caller = node.caller();
    for (page, member) in [
        ("https://localhost", true),
        ("https://localhost:8443", false),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let asked = caller
            .request(Method::OPTIONS, "/me")
            .header(ORIGIN, page)
            .header("access-control-request-method", "GET")
            .send()
            .await
            .unwrap();
        let told = asked.headers();
        assert_eq!(asked.status() == StatusCode::NO_CONTENT, member, "{page}");
        let allowed = if member { page } else { "" };
        assert_eq!(text(told, "access-control-allow-origin"), allowed, "{page}");
        let headers = text(told, "access-control-allow-headers");
        assert_eq!(headers.contains("authorization"), member, "{page}");

        let read = caller
            .request(Method::GET, "/health")
            .header(ORIGIN, page)
            .send()
            .await
            .unwrap();
        let told = read.headers();
        assert_eq!(text(told, "access-control-allow-origin"), allowed, "{page}");
        // Never with cookies: they would speak for whoever else uses this browser.
        assert_eq!(text(told, "access-control-allow-credentials"), "");
    }
}
