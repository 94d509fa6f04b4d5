//! Says what becomes of a token, and why.
//!
//! ```text
//! cargo run --all-features --example doctor -- --token "$TOKEN"
//! cargo run --all-features --example doctor -- --config auth.toml < token.txt
//! cargo run --all-features --example doctor < /dev/null
//! ```
//!
//! - `--token TOKEN` is the token, or the whole header `Authorization: Bearer …`. Without it, the token is
//!   read from the standard input, which keeps it out of the list of processes. If there is none either,
//!   settings and keys alone are looked at.
//! - `--config FILE` is the policy, in TOML, JSON or YAML, with the environment over it. Without it, the
//!   policy is that of the environment, as for `ResourceServer::from_env`.
//!
//! It ends with 0 if the token is let through or, without a token, if the keys can be had; with 1 if not;
//! and with 2 if the settings are wrong, so that nothing is trusted, or the arguments are. The signature is
//! not shown.

use std::{
    error::Error,
    fmt::Display,
    io::{ErrorKind, IsTerminal, Read, Write},
    process::ExitCode,
};

use portcullis::{ResourceServerConfig, explain};

const USAGE: &str = "\
doctor [--config FILE] [--token TOKEN]

Says what becomes of a token, and why.

  --config FILE   the policy, in TOML, JSON or YAML; the environment comes over it
  --token TOKEN   the token; without it, it is read from the standard input, and if
                  that is empty, settings and keys alone are looked at

Ends with 0 if the token is let through or, without a token, if the keys can be had;
with 1 if not; with 2 if the settings or the arguments are wrong.
";

#[derive(Default)]
struct Arguments {
    config: Option<String>,
    token: Option<String>,
    help: bool,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = match &*word {
            "--config" => &mut arguments.config,
            "--token" => &mut arguments.token,
            "--help" | "-h" => {
                arguments.help = true;
                return Ok(arguments);
            }
            // Not shown, since it may be a token.
            _ => return Err(format!("an argument is not understood\n\n{USAGE}").into()),
        };
        let given = words.next();
        *value = Some(given.ok_or_else(|| format!("{word} needs a value\n\n{USAGE}"))?);
    }
    Ok(arguments)
}

fn config(path: &str) -> Result<ResourceServerConfig, Box<dyn Error>> {
    let of_file = |error: &dyn Display| format!("{path}: {error}");
    let text = std::fs::read_to_string(path).map_err(|error| of_file(&error))?;
    Ok(match path.rsplit_once('.') {
        Some((_, "toml")) => toml::from_str(&text).map_err(|error| {
            // Without the line itself, which may have a secret in it.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.unwrap_or_default().matches('\n').count() + 1;
            of_file(&format_args!("line {line}: {}", error.message()))
        })?,
        Some((_, "json")) => serde_json::from_str(&text).map_err(|error| of_file(&error))?,
        Some((_, "yaml" | "yml")) => {
            serde_yaml_ng::from_str(&text).map_err(|error| of_file(&error))?
        }
        _ => return Err(of_file(&"expected a name that ends in .toml, .json or .yaml").into()),
    })
}

fn token_of_input() -> Result<String, Box<dyn Error>> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("paste a token, then Ctrl-D");
    }
    let mut token = String::new();
    // A token is never that long.
    input.take(64 * 1_024).read_to_string(&mut token)?;
    Ok(token)
}

/// Whoever reads may stop to, as `head` does.
fn print(text: impl Display) -> Result<(), Box<dyn Error>> {
    let mut output = std::io::stdout();
    match write!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = arguments()?;
    if arguments.help {
        print(USAGE)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = match &arguments.config {
        Some(path) => config(path)?,
        None => ResourceServerConfig::default(),
    };
    let resource_server = match config.with_env().build() {
        Ok(resource_server) => resource_server,
        Err(error) => {
            print(format_args!(
                "Nothing is trusted, and every token is refused:\n{error}\n"
            ))?;
            return Ok(ExitCode::from(2));
        }
    };
    let token = match arguments.token {
        Some(token) => token,
        None => token_of_input()?,
    };
    let explanation = explain(&token, &resource_server).await;
    print(&explanation)?;
    Ok(if explanation.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run().await.unwrap_or_else(|error| {
        eprintln!("{}", error.to_string().trim_end());
        ExitCode::from(2)
    })
}
