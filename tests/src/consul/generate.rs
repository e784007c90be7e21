//! Draws requests at random, from few names and odd values, so that they meet.

use super::case::{Case, Sending, Step, View};

/// Draws cases from a seed.
pub struct Generator {
    word: u64,
    sessions: usize,
}

impl Generator {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Generator {
        Generator { word: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, sessions: 0 }
    }

    /// Draws a case of so many requests, each followed by a look at what it may have changed.
    pub fn case(&mut self, name: String, length: usize) -> Case {
        let mut steps = Vec::new();
        self.sessions = 0;
        for number in 0..length {
            if number % 10 == 0 {
                steps.push(self.create_session());
            }
            let (method, target, body) = self.request();
            steps.push(Step::Send(sending(method, &target, body.as_deref())));
            if method != "GET" {
                steps.push(self.look());
            }
        }
        Case { name, steps }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.word ^= self.word << 13;
        self.word ^= self.word >> 7;
        self.word ^= self.word << 17;
        usize::try_from(self.word % u64::try_from(bound).unwrap_or(1)).unwrap_or(0)
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn create_session(&mut self) -> Step {
        let body = self.one_of(&[
            "{\"LockDelay\":\"0s\"}",
            "{\"LockDelay\":\"0s\",\"Behavior\":\"delete\"}",
            "{\"LockDelay\":0,\"Checks\":[],\"TTL\":\"1h\"}",
            "{\"LockDelay\":\"60s\",\"NodeChecks\":[]}",
        ]);
        let mut sending = sending("PUT", "/v1/session/create", Some(body));
        sending.keeps.push((format!("s{}", self.sessions), "/ID".to_owned()));
        self.sessions += 1;
        Step::Send(sending)
    }

    fn key(&mut self) -> String {
        self.one_of(&["r/a", "r/b", "r/a/c", "r", "r/", "q", "q/x/y"]).to_owned()
    }

    fn session(&mut self) -> String {
        match self.below(8) {
            0 => "adf4238a-882b-9ddc-4a9d-5b6758e4159e".to_owned(),
            1 => "x".to_owned(),
            _ => format!("{{{{s{}}}}}", self.below(self.sessions.max(1))),
        }
    }

    fn request(&mut self) -> (&'static str, String, Option<String>) {
        match self.below(12) {
            0..=3 => self.kv_write(),
            4 => self.txn(),
            5..=7 => self.agent_write(),
            8 => self.catalog_write(),
            9 => {
                let verb = self.one_of(&["destroy", "renew"]);
                ("PUT", format!("/v1/session/{verb}/{}", self.session()), None)
            }
            _ => ("GET", self.read(), None),
        }
    }

    fn kv_write(&mut self) -> (&'static str, String, Option<String>) {
        let key = self.key();
        let value = self.one_of(&["1", "2", "", "{\"a\":1}"]).to_owned();
        let flag = self.one_of(&["", "", "flags=1", "flags=7", "cas=0", "cas=99999999", "flags=x"]);
        match self.below(7) {
            0 => ("DELETE", format!("/v1/kv/{key}"), None),
            1 => ("DELETE", format!("/v1/kv/{key}?recurse"), None),
            2 => ("DELETE", format!("/v1/kv/{key}?cas=99999999"), None),
            3 => ("PUT", format!("/v1/kv/{key}?acquire={}", self.session()), Some(value)),
            4 => ("PUT", format!("/v1/kv/{key}?release={}", self.session()), Some(value)),
            _ => ("PUT", format!("/v1/kv/{key}?{flag}"), Some(value)),
        }
    }

    fn txn(&mut self) -> (&'static str, String, Option<String>) {
        let count = 1 + self.below(3);
        let mut steps = Vec::new();
        for _ in 0..count {
            let verb = self.one_of(&[
                "set",
                "get",
                "get-tree",
                "delete",
                "delete-tree",
                "cas",
                "delete-cas",
                "lock",
                "unlock",
                "check-session",
                "check-index",
                "check-not-exists",
            ]);
            let (key, session) = (self.key(), self.session());
            let index = self.below(3);
            steps.push(format!(
                "{{\"KV\":{{\"Verb\":\"{verb}\",\"Key\":\"{key}\",\"Value\":\"MQ==\",\
                 \"Index\":{index},\"Session\":\"{session}\"}}}}"
            ));
        }
        ("PUT", "/v1/txn".to_owned(), Some(format!("[{}]", steps.join(","))))
    }

    fn service(&mut self) -> String {
        self.one_of(&["w1", "w2", "W1", "nope"]).to_owned()
    }

    fn agent_write(&mut self) -> (&'static str, String, Option<String>) {
        let id = self.service();
        match self.below(9) {
            0..=2 => {
                let name = self.one_of(&["web", "Web", "db"]);
                let check = self.one_of(&[
                    "",
                    ",\"Check\":{\"TTL\":\"1h\"}",
                    ",\"Check\":{\"TTL\":\"1h\",\"Status\":\"passing\",\"Notes\":\"n\"}",
                    ",\"Checks\":[{\"TTL\":\"1h\"},{\"TTL\":\"2h\",\"Name\":\"second\"}]",
                    ",\"Checks\":[{\"TTL\":\"1h\",\"CheckID\":\"own\"}]",
                ]);
                let more = self.one_of(&[
                    "",
                    ",\"Port\":80",
                    ",\"Tags\":[\"a\",\"B\"]",
                    ",\"Meta\":{\"k\":\"v\"},\"Address\":\"10.0.0.1\"",
                    ",\"EnableTagOverride\":true,\"Weights\":{\"Passing\":2,\"Warning\":0}",
                ]);
                let how = self.one_of(&["", "", "?replace-existing-checks=true"]);
                let body = format!("{{\"ID\":\"{id}\",\"Name\":\"{name}\"{check}{more}}}");
                ("PUT", format!("/v1/agent/service/register{how}"), Some(body))
            }
            3 => ("PUT", format!("/v1/agent/service/deregister/{id}"), None),
            4 | 5 => {
                let verb = self.one_of(&["pass", "warn", "fail"]);
                let check = self.one_of(&["service:w1", "service:w2", "service:w1:2", "own", "nc"]);
                let note = self.one_of(&["", "?note=x", "?note=%C3%A9"]);
                ("PUT", format!("/v1/agent/check/{verb}/{check}{note}"), None)
            }
            6 => {
                let enable = self.one_of(&["true", "false"]);
                let target = format!("/v1/agent/service/maintenance/{id}?enable={enable}&reason=r");
                ("PUT", target, None)
            }
            7 => {
                let service = self.one_of(&["", ",\"ServiceID\":\"w1\"", ",\"ServiceID\":\"w2\""]);
                let status = self.one_of(&["", ",\"Status\":\"passing\""]);
                let body = format!("{{\"Name\":\"nc\",\"TTL\":\"1h\"{service}{status}}}");
                ("PUT", "/v1/agent/check/register".to_owned(), Some(body))
            }
            _ => ("PUT", "/v1/agent/check/deregister/nc".to_owned(), None),
        }
    }

    fn catalog_write(&mut self) -> (&'static str, String, Option<String>) {
        let node = self.one_of(&["e1", "E1", "e2"]);
        if self.below(4) == 0 {
            let what = self.one_of(&["", ",\"ServiceID\":\"s\"", ",\"CheckID\":\"c\""]);
            let body = format!("{{\"Node\":\"{node}\"{what}}}");
            return ("PUT", "/v1/catalog/deregister".to_owned(), Some(body));
        }
        let service = self.one_of(&[
            "",
            ",\"Service\":{\"ID\":\"s\",\"Service\":\"web\",\"Tags\":[\"c\"]}",
            ",\"Service\":{\"ID\":\"S\",\"Service\":\"db\"}",
        ]);
        let check = self.one_of(&[
            "",
            ",\"Check\":{\"CheckID\":\"c\",\"Status\":\"passing\"}",
            ",\"Check\":{\"CheckID\":\"c\",\"Status\":\"critical\",\"ServiceID\":\"s\"}",
        ]);
        let address = self.one_of(&["1.1.1.1", "1.1.1.2"]);
        let body = format!("{{\"Node\":\"{node}\",\"Address\":\"{address}\"{service}{check}}}");
        ("PUT", "/v1/catalog/register".to_owned(), Some(body))
    }

    fn read(&mut self) -> String {
        let key = self.key();
        let mode = self.one_of(&["", "", "?recurse", "?keys", "?keys&separator=/", "?raw"]);
        match self.below(4) {
            0 => format!("/v1/kv/{key}{mode}"),
            1 => self.health_read(),
            2 => format!("/v1/session/info/{}", self.session()),
            _ => {
                let targets = [
                    "/v1/agent/services",
                    "/v1/agent/checks",
                    "/v1/catalog/nodes",
                    "/v1/catalog/node/e1",
                    "/v1/health/state/any",
                    "/v1/health/state/critical",
                    "/v1/health/node/node-1",
                ];
                self.one_of(&targets).to_owned()
            }
        }
    }

    fn health_read(&mut self) -> String {
        let list = self.one_of(&["health/service", "health/checks", "catalog/service"]);
        let name = self.one_of(&["web", "WEB", "db", "none"]);
        let how = self.one_of(&["", "?passing", "?tag=a", "?stale", "?tag=b&tag=A"]);
        format!("/v1/{list}/{name}{how}")
    }

    fn look(&mut self) -> Step {
        let target = self.read();
        Step::Send(sending("GET", &target, None))
    }
}

fn sending(method: &str, target: &str, body: Option<&str>) -> Sending {
    Sending {
        method: method.to_owned(),
        target: target.to_owned(),
        body: body.map(str::to_owned),
        view: View { unranked: true, ..View::default() },
        ..Sending::default()
    }
}
