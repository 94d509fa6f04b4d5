//! How much memory does a request ask for on its way through each library?
//!
//! ```text
//! cargo run --release --bin allocations
//! ```
//!
//! It is a program of its own because counting takes time, by which a library that allocates more
//! would look slower than it is.

#[path = "../../../support/mod.rs"]
mod support;

#[path = "../stacks.rs"]
mod stacks;

use std::alloc::System;

use stacks::{choose_backend, stacks};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{World, bearer};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    choose_backend();
    let world = World::new();
    let good = bearer(&world.token(0));
    let mut counts = Vec::new();
    for mut stack in stacks(&world, &good) {
        // Other threads are counted too, so the least of many requests is that of the request.
        let count = (0..100)
            .map(|_| {
                let region = Region::new(ALLOCATOR);
                assert_eq!(stack.ask(&good), 200);
                let change = region.change();
                let times = change.allocations + change.reallocations;
                (times, change.bytes_allocated)
            })
            .min()
            .unwrap();
        counts.push((stack.name, stack.bare, count));
    }
    println!(
        "\n{:<36} {:>11} {:>9} {:>15} {:>11}",
        "case", "allocations", "bytes", "net allocations", "net bytes"
    );
    for (name, bare, (times, bytes)) in &counts {
        let of_bare = counts.iter().find(|(other, ..)| other == bare).unwrap().2;
        let (net_times, net_bytes) = match name == bare {
            true => (*times, *bytes),
            false => (times - of_bare.0, bytes - of_bare.1),
        };
        println!("{name:<36} {times:>11} {bytes:>9} {net_times:>15} {net_bytes:>11}");
    }
}
