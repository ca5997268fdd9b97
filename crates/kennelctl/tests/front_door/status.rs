//! `kennelctl status`.

use kennel_core::DeploymentEvent;

use crate::tree::{Tree, busy, without_times};

#[test]
fn status_for_people() {
    let tree = busy();
    insta::assert_snapshot!(tree.ctl(&["status"]), @"
    DEPLOYED            STATE     HEALTH  COMMIT        SINCE      ADDRESS
    shop/feature/x/api  starting  -       dddddddddddd  4 min ago
    shop/main/api       active    -       bbbbbbbbbbbb  7 min ago  http://api-main.shop.example.com
                                                                   http://shop.test
    shop/main/api       draining  -       aaaaaaaaaaaa  2 h ago    (ends in 59 min)
    shop/main/web       active    -       bbbbbbbbbbbb  7 min ago  http://web-main.shop.example.com
    shop/pr-5/web       pending   -       eeeeeeeeeeee  3 min ago

    FAILED         DEPLOYMENT  COMMIT        WHEN       WHY
    shop/main/api  4           cccccccccccc  5 min ago  it ended at once (exit code 1); its last lines:
    In full: `journalctl -u kennel-deploy@<deployment>`.

    BUILD  BRANCH          COMMIT        STATE     ASKED FOR  RAN        WHY
    4      blog/main       111111111111  queued    2 min ago
    3      shop/feature/x  ffffffffffff  building  3 h ago    3 h 0 min
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["status", "shop/feature/x"]), @"
    DEPLOYED            STATE     HEALTH  COMMIT        SINCE      ADDRESS
    shop/feature/x/api  starting  -       dddddddddddd  4 min ago

    BUILD  BRANCH          COMMIT        STATE     ASKED FOR  RAN        WHY
    3      shop/feature/x  ffffffffffff  building  3 h ago    3 h 0 min
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["status", "shop/main/web"]), @"
    DEPLOYED       STATE   HEALTH  COMMIT        SINCE      ADDRESS
    shop/main/web  active  -       bbbbbbbbbbbb  7 min ago  http://web-main.shop.example.com
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["status", "blog"]), @"
    Nothing is deployed for blog.

    BUILD  BRANCH     COMMIT        STATE   ASKED FOR  RAN  WHY
    4      blog/main  111111111111  queued  2 min ago
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["status", "shop/feature"]), @"
    kennelctl: nothing is deployed as shop/feature; known: shop/feature/x, shop/feature/x/api, shop/main/api, shop/main/web, shop/pr-5/web
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["status", "wiki"]), @"
    kennelctl: there is no project wiki; known: shop
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["status", "Shop"]), @"
    error: invalid value 'Shop' for '[PROJECT[/BRANCH[/NAME]]]': `Shop` is not a project name: only a-z, 0-9 and `-` may stand in it

    For more information, try '--help'.
    exit 2
    ");
}

#[test]
fn status_for_programs() {
    let said = busy().ctl(&["status", "shop/main", "--json"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(without_times(&said.out), @r#"
    {
      "builds": [],
      "deployments": [
        {
          "branch": "main",
          "build": 4,
          "commit": "cccccccccccccccccccccccccccccccccccccccc",
          "drain_until": null,
          "expires_at": null,
          "health": null,
          "health_detail": null,
          "held": false,
          "id": 4,
          "kind": "service",
          "monitor": null,
          "name": "api",
          "port": null,
          "project": "shop",
          "reason": "it ended at once (exit code 1); its last lines:\n\u001b[31mno database\u001b[0m\nbye",
          "ref": "refs/heads/main",
          "since": "TIME",
          "state": "failed",
          "unit": "kennel-shop-main-api@4.service",
          "urls": []
        },
        {
          "branch": "main",
          "build": 2,
          "commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
          "drain_until": null,
          "expires_at": null,
          "health": null,
          "health_detail": null,
          "held": false,
          "id": 2,
          "kind": "service",
          "monitor": null,
          "name": "api",
          "port": 18002,
          "project": "shop",
          "reason": null,
          "ref": "refs/heads/main",
          "since": "TIME",
          "state": "active",
          "unit": "kennel-shop-main-api@2.service",
          "urls": [
            "http://api-main.shop.example.com",
            "http://shop.test"
          ]
        },
        {
          "branch": "main",
          "build": 1,
          "commit": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "drain_until": "TIME",
          "expires_at": null,
          "health": null,
          "health_detail": null,
          "held": false,
          "id": 1,
          "kind": "service",
          "monitor": null,
          "name": "api",
          "port": 18001,
          "project": "shop",
          "reason": null,
          "ref": "refs/heads/main",
          "since": "TIME",
          "state": "draining",
          "unit": "kennel-shop-main-api@1.service",
          "urls": []
        },
        {
          "branch": "main",
          "build": 3,
          "commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
          "drain_until": null,
          "expires_at": null,
          "health": null,
          "health_detail": null,
          "held": false,
          "id": 3,
          "kind": "site",
          "monitor": null,
          "name": "web",
          "port": null,
          "project": "shop",
          "reason": null,
          "ref": "refs/heads/main",
          "since": "TIME",
          "state": "active",
          "unit": null,
          "urls": [
            "http://web-main.shop.example.com"
          ]
        }
      ],
      "maintenance": [],
      "pins": [],
      "router": {
        "generation": null,
        "published_generation": 7,
        "reachable": null,
        "refused": null
      },
      "warnings": []
    }
    "#);
}

#[test]
fn an_active_deployment_without_an_address_is_told() {
    let mut tree = Tree::fresh();
    let id = tree.deployment("shop", "refs/heads/main", "api", 'a', 130);
    tree.active(id, 125, 0);
    insta::assert_snapshot!(tree.ctl(&["status"]), @"
    DEPLOYED       STATE   HEALTH  COMMIT        SINCE      ADDRESS
    shop/main/api  active  -       aaaaaaaaaaaa  2 min ago

    The route table cannot be read, so no addresses are shown: /var/lib/kennel/routes/routes.json: No such file or directory (os error 2)
    exit 0
    ");
    tree.routes(&[]);
    insta::assert_snapshot!(tree.ctl(&["status"]), @"
    DEPLOYED       STATE   HEALTH  COMMIT        SINCE      ADDRESS
    shop/main/api  active  -       aaaaaaaaaaaa  2 min ago

    shop/main/api is active, but the route table has no address for it; see `journalctl -u kennel-router -u kennel-restore`.
    exit 0
    ");
}

#[test]
fn what_was_torn_down_is_not_shown() {
    let mut tree = Tree::fresh();
    tree.project("shop");
    let id = tree.deployment("shop", "refs/heads/main", "web", 'a', 130);
    tree.active(id, 125, 0);
    let mut state = tree.state();
    state.step(id, DeploymentEvent::TearDown, None, tree.now).unwrap();
    insta::assert_snapshot!(tree.ctl(&["status"]), @"
    DEPLOYED       STATE         HEALTH  COMMIT        SINCE      ADDRESS
    shop/main/web  tearing down  -       aaaaaaaaaaaa  2 min ago

    The route table cannot be read, so no addresses are shown: /var/lib/kennel/routes/routes.json: No such file or directory (os error 2)
    exit 0
    ");
    state.torn_down(id, tree.now).unwrap();
    insta::assert_snapshot!(tree.ctl(&["status"]), @"
    Nothing is deployed yet. Push to a project of /etc/kennel/projects.d.
    exit 0
    ");
}
