//! Says what becomes of a token, and why.
//!
//! ```text
//! cargo run --all-features --example doctor -- --token "$TOKEN"
//! cargo run --all-features --example doctor -- --config auth.toml < token.txt
//! ```
//!
//! The policy is that of the environment, as for `ResourceServer::from_env`; with `--config`, that of a
//! file in TOML, JSON or YAML, with the environment over it. Without `--token`, the token is read from the
//! standard input, which keeps it out of the list of processes. The signature is not shown.
//!
//! It ends with 0 if the token is let through, with 1 if it is refused, and with 2 if nothing is trusted
//! because the settings are wrong.

use std::{error::Error, io::Read, process::ExitCode};

use portcullis::{ResourceServerConfig, explain};

const USAGE: &str = "doctor [--config FILE] [--token TOKEN]";

struct Arguments {
    config: Option<String>,
    token: Option<String>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments {
        config: None,
        token: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = match &*word {
            "--config" => &mut arguments.config,
            "--token" => &mut arguments.token,
            _ => return Err(format!("{word} is not understood: {USAGE}").into()),
        };
        *value = Some(
            words
                .next()
                .ok_or_else(|| format!("{word} needs a value: {USAGE}"))?,
        );
    }
    Ok(arguments)
}

fn config(path: &str) -> Result<ResourceServerConfig, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(match path.rsplit_once('.') {
        Some((_, "toml")) => toml::from_str(&text)?,
        Some((_, "json")) => serde_json::from_str(&text)?,
        Some((_, "yaml" | "yml")) => serde_yaml_ng::from_str(&text)?,
        _ => {
            return Err(
                format!("{path}: expected a name that ends in .toml, .json or .yaml").into(),
            );
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = arguments()?;
    let config = match &arguments.config {
        Some(path) => config(path)?,
        None => ResourceServerConfig::default(),
    };
    let resource_server = match config.with_env().build() {
        Ok(resource_server) => resource_server,
        Err(error) => {
            println!("Nothing is trusted, and every token is refused:\n{error}");
            return Ok(ExitCode::from(2));
        }
    };
    let token = match arguments.token {
        Some(token) => token,
        None => {
            let mut token = String::new();
            // A token is never that long.
            std::io::stdin()
                .take(64 * 1_024)
                .read_to_string(&mut token)?;
            token
        }
    };
    let explanation = explain(&token, &resource_server).await;
    print!("{explanation}");
    Ok(match explanation.verdict {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
