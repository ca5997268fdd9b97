//! Slices of projects and branches: what the operator gives them, and who comes first.

use kennel_tests::{
    Context, Forge, Kennel, LIMIT, Result, ensure, expect_gone, expect_no_leftovers,
    expect_nothing_left,
};

const LIMITS: &str = "[limits]\nmemory_max = \"3G\"\nweight = 300\n\
                      [preview_limits]\ncpu_quota = \"150%\"\ntasks_max = 300\n";

/// Production and a preview have theirs from the first moment, a changed project file counts from the
/// next deployment on, what is lost comes back, and what a person set by hand stays.
pub(crate) fn of_a_project_and_its_branches(kennel: &Kennel) -> Result<()> {
    let project = kennel.project_on(Forge::Forgejo, "guild", LIMITS)?;
    let host = kennel.host();
    for branch in ["main", "more"] {
        project.push(branch, &kennel.sources().service("api", branch), branch)?;
        kennel.expect_page(&project.address("api", branch), "/version", branch, LIMIT)?;
    }
    let has = |slice: &str, wanted: &[(&str, &str)]| -> Result<()> {
        for (property, wanted) in wanted {
            let show = ["systemctl", "show", "--value", "--property", property, slice];
            let found = host.run(&show)?;
            ensure!(found.trim() == *wanted, "{property} of {slice} is {found}, not {wanted}");
        }
        Ok(())
    };
    let whole = [("CPUWeight", "300"), ("IOWeight", "300"), ("MemoryMax", "3221225472")];
    has("kennel-guild.slice", &whole)?;
    has("kennel-guild-main.slice", &[("CPUWeight", "100"), ("TasksMax", "infinity")])?;
    let preview = [("CPUWeight", "20"), ("CPUQuotaPerSecUSec", "1.500000s"), ("TasksMax", "300")];
    has("kennel-guild-more.slice", &preview)?;

    let file = "etc/kennel/projects.d/guild.toml";
    let text = String::from_utf8(host.read(file)?)?.replace("\"150%\"", "\"50%\"");
    host.write(file, text + "weight = 7\n")?;
    host.run(&["systemctl", "set-property", "kennel-guild-main.slice", "TasksMax=900"])?;
    project.push("more", &kennel.sources().service("api", "again"), "again")?;
    kennel.expect_page(&project.address("api", "more"), "/version", "again", LIMIT)?;
    has("kennel-guild-more.slice", &[("CPUWeight", "7"), ("CPUQuotaPerSecUSec", "500ms")])?;

    host.sh("cd /etc/systemd/system
             cp kennel-guild-more.slice kennel-guild-nobody.slice
             rm kennel-guild-main.slice")?;
    let said = host.run(&["kennelctl", "reconcile"])?;
    for slice in ["kennel-guild-main.slice", "kennel-guild-nobody.slice"] {
        ensure!(said.contains(slice), "it says {said}");
    }
    expect_no_leftovers(kennel, "guild")?;
    has("kennel-guild-main.slice", &[("CPUWeight", "100"), ("TasksMax", "900")])?;

    for branch in ["main", "more"] {
        host.run(&["kennelctl", "teardown", &format!("guild/{branch}"), "--yes"])?;
    }
    expect_gone(kennel, &project, "refs/heads/main").context("the production branch")?;
    expect_nothing_left(kennel, "guild")?;
    host.run(&["systemctl", "revert", "kennel-guild-main.slice"]).map(drop)
}
