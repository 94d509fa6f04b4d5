//! Who may use what: the pure core stays pure.

use std::{fs, path::Path};

/// Neither I/O nor waiting nor a framework in `src/verify` and what it checks signatures with, and no clock.
#[test]
fn the_pure_core_has_no_io() {
    let forbidden = [
        "async",
        "await",
        "tokio",
        "reqwest",
        "moka",
        "tower",
        "axum",
        "arc_swap",
        "crate::jwks::",
        "crate::middleware",
        "crate::audit",
        "SystemTime",
        "Instant",
        "std::net",
        "std::fs",
    ];
    let mut files = 0;
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let verify = fs::read_dir(src.join("verify")).unwrap();
    let verify = verify.map(|entry| entry.unwrap().path());
    for path in verify.chain([src.join("signature.rs")]) {
        let text = fs::read_to_string(&path).unwrap();
        files += 1;
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for word in forbidden {
                assert!(
                    !code.contains(word),
                    "{}:{}: {word}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
    assert!(files >= 7, "looked at {files} files only");
}

/// The crypto crates are used in one file.
#[test]
fn signatures_are_checked_in_one_place() {
    fn look(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("test_util") {
                look(&path, found);
            } else if path.is_file() {
                let text = fs::read_to_string(&path).unwrap();
                if text.contains("use aws_lc_rs") || text.contains("use jsonwebtoken") {
                    found.push(path.file_name().unwrap().to_string_lossy().into_owned());
                }
            }
        }
    }
    let mut found = Vec::new();
    look(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert_eq!(found, ["signature.rs"]);
}
