//! `cargo xtask fuzz`: what strangers' bytes meet first, under bytes that libFuzzer makes up.
//!
//! With the stable toolchain and without cargo-fuzz: the instrumentation is LLVM's, whose flags any
//! rustc passes on. The corpus in `fuzz/corpus` is only read, and what is found goes to `target/fuzz`.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use xtask::checkout::Checkout;
use xtask::needs;

/// What cargo-fuzz passes, too. Blocks and edges are counted, and comparisons told.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Runs each target, or the one of this name, for so many seconds.
pub(crate) fn run(seconds: u64, only: Option<&str>, is_merge: bool) -> Result<ExitCode> {
    let checkout = Checkout::find()?;
    needs::install_for_fuzzing()?;
    let (fuzz, target) = (checkout.root().join("fuzz"), checkout.target().join("fuzz"));
    let targets = targets(&checkout)?;
    let chosen: Vec<_> =
        targets.iter().filter(|name| only.is_none_or(|only| only == name.as_str())).collect();
    ensure!(!chosen.is_empty(), "there is no such target; there are {}", targets.join(", "));

    let triple = host_triple()?;
    let built = Command::new("cargo")
        .args(["build", "--locked", "--release", "--manifest-path"])
        .arg(fuzz.join("Cargo.toml"))
        // Named, so that the flags are not for what runs while building.
        .args(["--target", &triple, "--target-dir"])
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "the targets cannot be built");

    let mut passed = true;
    for name in chosen {
        let corpus = fuzz.join("corpus").join(name);
        let found = target.join("found").join(name);
        let crashes = target.join("crashes").join(name);
        for folder in [&corpus, &found, &crashes] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let mut command = Command::new(target.join(&triple).join("release").join(name));
        if is_merge {
            command.arg("-merge=1").args([&corpus, &found]);
        } else {
            println!("== {name}, {seconds} s");
            // One input is soon through; what takes longer is a finding.
            command.args([&format!("-max_total_time={seconds}"), "-timeout=5", "-max_len=4096"]);
            command.arg(format!("-artifact_prefix={}/", crashes.display()));
            command.args(["-verbosity=0", "-print_final_stats=1"]).args([&found, &corpus]);
        }
        let status = command.status().with_context(|| format!("cannot run {name}"))?;
        if !status.success() {
            eprintln!("{name} failed; the input lies in {}", crashes.display());
            passed = false;
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The names of all targets.
fn targets(checkout: &Checkout) -> Result<Vec<String>> {
    let folder = checkout.root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// What rustc compiles for by itself.
fn host_triple() -> Result<String> {
    let said = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let said = String::from_utf8(said.stdout)?;
    let triple = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.context("rustc does not say its host")?.to_owned())
}
