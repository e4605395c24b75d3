//! The demonstration's start page: one person per role with their password and the way to their portal.
//! A file that `salus demo` writes beside its data; no node knows or serves it.

use std::fmt::Write as _;
use std::path::Path;

use salus_proto::role::Role;

/// Somebody to log in as.
pub(super) struct Someone<'a> {
    pub(super) name: &'a str,
    pub(super) login: &'a str,
    pub(super) password: &'a str,
    pub(super) role: Role,
    /// What this person is here for, where it is not what their role says.
    pub(super) hint: Option<&'a str>,
    /// Whose node has the account, and its address.
    pub(super) home: (&'a str, &'a str),
}

/// What the page shows.
pub(super) struct Start<'a> {
    pub(super) notice: &'a str,
    /// What data there is.
    pub(super) data: &'a str,
    /// Checks the nodes' TLS certificates.
    pub(super) authority: &'a Path,
    /// Names and addresses.
    pub(super) nodes: &'a [(String, String)],
    pub(super) people: &'a [Someone<'a>],
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8a9099;--soft:#f1f4f8;--link:#0b5394;--note:#fff4ce;--page:#fff;--ink:#16191d}
@media(prefers-color-scheme:dark){:root{--line:#6b727c;--soft:#2b3038;--link:#8ec1ff;--note:#4a3d0a;--page:#16191d;--ink:#e9ecf0}}
*{box-sizing:border-box}html{background:var(--page);color:var(--ink)}
body{background:var(--page);font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:64rem;padding:1rem}
h1{line-height:1.2}h2{margin-top:2rem}
a{color:var(--link)}
.note{background:var(--note);border:1px solid var(--line);border-radius:.5rem;padding:.75rem 1rem}
.people{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));padding:0;list-style:none}
.people>li{border:1px solid var(--line);border-radius:.5rem;padding:1rem;overflow-wrap:anywhere}
h3{margin:0}.role{margin:0}
dl{margin:1rem 0;display:grid;grid-template-columns:auto 1fr;gap:.25rem .75rem}dt{font-weight:600}dd{margin:0}
code{background:var(--soft);padding:.1em .3em;border-radius:.25rem;overflow-wrap:anywhere}
.go{display:inline-block;margin-top:.25rem;border:1px solid var(--link);border-radius:.5rem;padding:.5rem 1rem;text-decoration:none}
";

impl Start<'_> {
    /// The whole page. It needs no script and nothing from elsewhere.
    pub(super) fn html(&self) -> String {
        let mut page = String::new();
        let people: String = self.people.iter().map(card).collect();
        let nodes: String = self
            .nodes
            .iter()
            .map(|(name, api)| {
                let (name, api) = (text(name), text(api));
                format!("<li><a href=\"{api}\">{name}</a> <code>{api}</code></li>\n")
            })
            .collect();
        let pharmacy: String = self
            .nodes
            .last()
            .map(|(_, api)| {
                let api = text(api);
                format!(
                    "<p>A pharmacy <a href=\"{api}/check\">checks a printed prescription</a>.</p>\n"
                )
            })
            .into_iter()
            .collect();
        let authority = self.authority.display().to_string();
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>Salus demonstration</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>Salus demonstration</h1>\n\
             <p class=\"note\" role=\"note\"><strong>Demonstration.</strong> {notice}</p>\n\
             <p>Four nodes run on this computer until the program is stopped. Patients' records are \
             already in them, sealed: {data}.</p>\n\
             <h2>Log in as</h2>\n<ul class=\"people\">\n{people}</ul>\n\
             <h2>Without an account</h2>\n{pharmacy}\
             <h2>If the browser warns of the certificate</h2>\n\
             <p>The nodes' certificates are the demonstration's own. Visit each node once and let the \
             browser go on, because pages of one node also ask the others:</p>\n<ul>\n{nodes}</ul>\n\
             <p>Or let the browser trust <code>{authority}</code> while you look, and take that back \
             afterwards. Its key is destroyed already, so nobody can issue anything else with it.</p>\n\
             </main>\n</body>\n</html>\n",
            notice = text(self.notice),
            data = text(self.data),
            authority = text(&authority),
        );
        page
    }
}

fn card(one: &Someone<'_>) -> String {
    let (role, portal, task) = words(one.role);
    let (home, api) = one.home;
    format!(
        "<li>\n<h3>{name}</h3>\n<p class=\"role\">{role}</p>\n<p>{task}</p>\n\
         <dl><dt>User name</dt><dd><code>{login}</code></dd>\
         <dt>Password</dt><dd><code>{password}</code></dd>\
         <dt>Account at</dt><dd>{home}</dd></dl>\n\
         <a class=\"go\" href=\"{api}/login?login={login}\">{portal} as {name}</a>\n</li>\n",
        name = text(one.name),
        task = text(one.hint.unwrap_or(task)),
        login = text(one.login),
        password = text(one.password),
        home = text(home),
        api = text(api),
    )
}

/// A role's name, its portal, and what one does there.
const fn words(role: Role) -> (&'static str, &'static str, &'static str) {
    match role {
        Role::Patient => (
            "Patient",
            "Patient's portal",
            "Reads the own record, asks a doctor, sees who looked.",
        ),
        Role::Doctor => (
            "Doctor",
            "Doctor's portal",
            "Reads what patients shared, answers and prescribes.",
        ),
        Role::Staff => (
            "Hospital staff",
            "Hospital's portal",
            "Takes patients in, proves what is kept, decides on requests.",
        ),
        Role::Operator => (
            "Cloud operator",
            "Cloud's portal",
            "Authorises profiles, watches store, attempts and ledger.",
        ),
        Role::DataUser => ("Data user", "Data user's pages", "Trains models."),
        Role::Auditor => ("Auditor", "Auditor's pages", "Checks the ledger."),
        Role::Organisation => ("Organisation", "Node", "Runs a node."),
    }
}

/// Text as it may stand in HTML and in quoted attributes.
fn text(plain: &str) -> String {
    let mut safe = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_listed_with_password_and_way_in_and_markup_stays_text() {
        let people = [Someone {
            name: "Maya <b>Osei</b>",
            login: "maya",
            password: "maya-demo-1",
            role: Role::Patient,
            hint: None,
            home: ("Cloud \"C\"", "https://127.0.0.1:8446"),
        }];
        let nodes = [("North".to_owned(), "https://127.0.0.1:8443".to_owned())];
        let page = Start {
            notice: "Nothing here is for care.",
            data: "a cohort",
            authority: Path::new("/tmp/a&b/authority.pem"),
            nodes: &nodes,
            people: &people,
        }
        .html();
        for wanted in [
            "Maya &lt;b&gt;Osei&lt;/b&gt;",
            "<code>maya-demo-1</code>",
            "href=\"https://127.0.0.1:8446/login?login=maya\"",
            "Cloud &quot;C&quot;",
            "/tmp/a&amp;b/authority.pem",
            "href=\"https://127.0.0.1:8443\"",
            "Nothing here is for care.",
        ] {
            assert!(page.contains(wanted), "{wanted} is missing");
        }
        assert!(!page.contains("<b>"));
    }
}
