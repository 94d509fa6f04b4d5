//! What does the same request with the same token cost through each library?
//!
//! ```text
//! cargo run --release
//! cargo run --release -- --rust-crypto
//! ```
//!
//! Two of the libraries are on versions of jsonwebtoken whose backend a process may choose. It is
//! aws_lc_rs unless the second line is asked for; rust_crypto is what they do without being asked.
//!
//! Every library is first shown to let the good token through, and what it refuses is printed. The
//! cases then take turns of 2 ms. Each is compared with the bare service that it stands in front of,
//! and with a bare signature check. A row counts only beside the others of its run.
//!
//! `cargo run --release --bin allocations` counts the allocations of the same requests.

#[path = "../../support/mod.rs"]
mod support;

mod stacks;

use stacks::{Bad, choose_backend, stacks};
use support::{Cases, SignatureCheck, Times, World, bearer};

fn main() {
    choose_backend();
    let world = World::new();
    let good = &bearer(&world.token(0));
    let bad = Bad::new(&world);
    let check = SignatureCheck::new(portcullis::Algorithm::Rs256);
    let mut stacks = stacks(&world, good);
    println!("the token has {} characters\n", world.token(0).len());

    println!("{:<36} it refuses another, or a past", "library");
    for stack in stacks.iter_mut().filter(|stack| stack.name != stack.bare) {
        let passed = bad.passed_by(stack);
        let verdict = match &passed[..] {
            [] => "signature, audience, issuer, expiry".to_owned(),
            passed => format!("does not refuse: {}", passed.join(", ")),
        };
        println!("{:<36} {verdict}", stack.name);
    }

    let rows: Vec<_> = (stacks.iter())
        .map(|stack| (stack.name, stack.bare))
        .collect();
    let mut cases = Cases::default();
    cases.add("signature check alone", || check.run());
    for stack in &mut stacks {
        cases.add(stack.name, || assert_eq!(stack.ask(good), 200));
    }
    let times = cases.measure(100);
    let yardstick = times.least("signature check alone");
    println!();
    Times::header("signature checks");
    times.row("signature check alone", 0.0, yardstick);
    for (name, bare) in rows {
        let bare = if name == bare { 0.0 } else { times.least(bare) };
        times.row(name, bare, yardstick);
    }
}
