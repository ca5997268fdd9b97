//! The README's first screen: its commands are run as they stand there.
//!
//! The Debian package's are in `packages`, and NixOS' lines in `nixos`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use kennel_tests::{Context, Result, bail, ensure};
use xtask::checkout::Checkout;

/// The first block of a language that has this text in it.
pub(crate) fn block(language: &str, with: &str) -> Result<String> {
    let readme = fs::read_to_string(Checkout::find()?.root().join("README.md"))?;
    let begin = format!("```{language}\n");
    let mut blocks = readme.split(begin.as_str()).skip(1).filter_map(|it| it.split("```").next());
    let block = blocks.find(|block| block.contains(with));
    Ok(block.with_context(|| format!("the README has no block with {with:?}"))?.to_owned())
}

/// The commands of such a block, without what is said of them.
pub(crate) fn commands(with: &str) -> Result<Vec<String>> {
    let block = block("console", with)?;
    let commands = block.lines().filter_map(|line| line.strip_prefix("# "));
    Ok(commands.map(|line| line.split("  #").next().unwrap_or(line).trim().to_owned()).collect())
}

/// The two for a fresh machine: one is run here, the other one runs this.
pub(crate) fn demo() -> Result<()> {
    let commands = commands("cargo xtask demo")?;
    let [demo, test] = commands.as_slice() else { bail!("there are {commands:?}") };
    let checkout = Checkout::find()?;
    let ci = fs::read_to_string(checkout.root().join(".ci/run"))?;
    ensure!(ci.lines().any(|line| line == format!("run {test}")), "CI runs other tests: {ci}");

    // It ends, beside others of this machine, and with the programs that are compiled already.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let name = format!("e2e-{}-demo", std::process::id());
    let demo = format!("{demo} --once --profile test --name {name} --port {port}");
    let output = Command::new("sh")
        .args(["-c", &demo])
        .current_dir(checkout.root())
        .stdin(Stdio::null())
        .output()
        .context("there is no sh")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{demo} ended with {}: {said}{failed}", output.status);
    for words in ["says \"v1\"", "none failed", "Now try:", &format!(":{port}/")] {
        ensure!(said.contains(words), "it does not say {words:?}: {said}");
    }
    Ok(())
}
