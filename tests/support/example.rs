//! The examples, as processes of their own. `cargo test` builds them first; a run of one test file
//! alone (`--test wire`) uses those that were built last.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use portcullis::test_util::TestAuthorizationServer;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// One that runs, until it is dropped.
pub(crate) struct Example {
    _process: Child,
    /// `http://` and its address.
    pub(crate) origin: String,
}

impl Example {
    /// Starts it with `okta` as its authorization server; `changes` are laid over its environment.
    pub(crate) async fn start(
        name: &str,
        okta: &TestAuthorizationServer,
        changes: &[(&str, &str)],
    ) -> Self {
        let mut env = BTreeMap::from([
            ("AUTH_PROVIDERS", "okta"),
            ("OKTA_ORG_DOMAIN", okta.origin()),
            ("OKTA_AUDIENCE", "api://default"),
            ("ADMIN_GROUPS", "DataEngineers, SystemAdmins"),
            ("WRITE_GROUPS", "ETLDevelopers"),
            ("READ_ONLY_GROUPS", "DataAnalysts"),
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("RUST_LOG", "off"),
        ]);
        env.extend(changes.iter().copied());
        let mut process = command(name, &env).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        let origin = line.strip_prefix("listening on ").unwrap().to_owned();
        Self {
            _process: process,
            origin,
        }
    }

    pub(crate) fn address(&self) -> &str {
        self.origin.strip_prefix("http://").unwrap()
    }
}

/// The command that runs an example with this environment and nothing else in it.
pub(crate) fn command(name: &str, env: &BTreeMap<&str, &str>) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(
        path.exists(),
        "`cargo build --all-features --example {name}` first"
    );
    let mut command = Command::new(path);
    command.env_clear();
    if std::env::var("TEST_TOKEN_CACHE").is_ok_and(|value| value == "off") {
        command.env("TOKEN_CACHE_MAX_ENTRIES", "0");
    }
    command.envs(env).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// For what comes soon, or never.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it hangs")
}
