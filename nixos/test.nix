# A machine of NixOS' with the module, and a push, its page, a second push, a reboot, and a way back:
# `nix build .#checks.x86_64-linux.push`.
{ module }:
{ pkgs, ... }:
let
  # Offline: the builder is in the repository, under the name by which it knows what to be.
  flake = pkgs.writeText "flake.nix" ''
    {
      outputs = { self }: {
        packages.${pkgs.stdenv.hostPlatform.system}.api = derivation {
          name = "api";
          system = "${pkgs.stdenv.hostPlatform.system}";
          builder = "''${./tools}/busybox";
          bb = "''${./tools}/busybox";
          page = ./page;
          args = [ "sh" "-euc" '''
            $bb mkdir -p $out/bin $out/www
            $bb cp $page $out/www/version
            $bb cp $page $out/www/health
            $bb printf '#!%s sh\nexec %s httpd -f -p 127.0.0.1:$PORT -h %s\n' $bb $bb $out/www > $out/bin/api
            $bb chmod +x $out/bin/api
          ''' ];
        };
      };
    }
  '';
  push = pkgs.writeShellScript "push" ''
    set -eu
    cd /root/shop
    echo "$1" > page
    git add -A
    git commit --quiet --message "$1"
    before=$(git rev-parse --verify --quiet origin/main || echo 0000000000000000000000000000000000000000)
    git push --quiet origin HEAD:main
    body=$(printf '{"ref":"refs/heads/main","before":"%s","after":"%s","created":false,"deleted":false,"repository":{"full_name":"team/shop","clone_url":"x"},"pusher":{"login":"ann"}}' \
      "$before" "$(git rev-parse HEAD)")
    sum=$(printf %s "$body" | openssl dgst -sha256 -hmac "$(cat /run/shop-webhook)" -r | cut -d' ' -f1)
    printf %s "$body" | curl --fail --silent --show-error --data-binary @- \
      -H 'Content-Type: application/json' -H "X-Forgejo-Delivery: $1" \
      -H 'X-Forgejo-Event: push' -H 'X-Forgejo-Event-Type: push' -H "X-Forgejo-Signature: $sum" \
      -H 'Host: kennel.kennel.test' http://127.0.0.1/webhook/shop
  '';
in
{
  name = "kennel-push";

  nodes.machine = {
    imports = [ module ];
    services.kennel = {
      enable = true;
      openFirewall = true;
      settings.base_domain = "kennel.test";
      projects.shop = {
        settings.repo_url = "file:///srv/git/shop.git";
        settings.forge = "forgejo";
        webhookSecretFile = "/run/shop-webhook";
      };
    };
    # As agenix would: there before any unit that wants it, and again after a reboot.
    system.activationScripts.shop-webhook = ''
      (umask 077; echo "the secret of shop" > /run/shop-webhook)
    '';
    users.mutableUsers = false;
    nix.settings.substituters = pkgs.lib.mkForce [ ];
    environment.systemPackages = [
      pkgs.git
      pkgs.openssl
    ];
    virtualisation.writableStore = true;
  };

  testScript = ''
    def page(text):
        machine.wait_until_succeeds(
            f"curl -sf -H 'Host: api-main.shop.kennel.test' http://127.0.0.1/version | grep -x {text}"
        )

    machine.wait_for_unit("kennel.target")
    machine.succeed(
        "mkdir -p /srv/git /root/shop/tools",
        "git init --quiet --bare -b main /srv/git/shop.git",
        # git serves a repository to its owner alone, and root pushes to it all the same.
        "chown -R kennel-build: /srv/git",
        "git config --global --add safe.directory '*'",
        "git init --quiet -b main /root/shop",
        "cd /root/shop && git remote add origin /srv/git/shop.git",
        "cd /root/shop && git config user.email ann@example.org && git config user.name Ann",
        "cp ${flake} /root/shop/flake.nix",
        "printf '[services.api]\n' > /root/shop/kennel.toml",
        "cp ${pkgs.pkgsStatic.busybox}/bin/busybox /root/shop/tools/busybox",
    )
    machine.succeed("${push} one")
    page("one")
    machine.succeed("${push} two")
    page("two")
    machine.shutdown()
    machine.start()
    page("two")
    machine.succeed("kennelctl rollback shop/main/api")
    page("one")
    machine.succeed("kennelctl check", "kennelctl doctor")
  '';
}
