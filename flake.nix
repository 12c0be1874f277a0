{
  description = "Gives git worktrees their artifact directories at once: FUSE views of one content-addressed store";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      manifest = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).package;
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = manifest.name;
          version = manifest.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          nativeBuildInputs = [
            pkgs.installShellFiles
            pkgs.makeWrapper
          ];
          # The tests mount, which the sandbox of a build forbids.
          doCheck = false;
          postInstall = ''
            install -m 755 packaging/git-depsfs $out/bin/
            install -D -m 755 -t $out/sbin mount-helpers/*mount.*depsfs
            install -D -m 644 -t $out/share/depsfs mount-helpers/ci3-env.sh mount-helpers/cache-remotes.toml
            install -D -m 644 -t $out/lib/systemd/user packaging/depsfs.service
            substituteInPlace $out/lib/systemd/user/depsfs.service --replace-fail @bindir@ $out/bin
            $out/bin/depsfs man --all $out/share/man
            for shell in bash fish zsh; do
              $out/bin/depsfs completions $shell > depsfs.$shell
              installShellCompletion --cmd depsfs --$shell depsfs.$shell
            done
            # fusermount3 with its set-user-id bit is the system's (programs.fuse, or /run/wrappers).
            wrapProgram $out/bin/depsfs --suffix PATH : ${pkgs.lib.makeBinPath [ pkgs.git ]}
          '';
          meta = {
            description = manifest.description;
            homepage = manifest.homepage;
            license = with pkgs.lib.licenses; [
              mit
              asl20
            ];
            platforms = systems;
            mainProgram = "depsfs";
          };
        };
      });

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.cargo
            pkgs.clippy
            pkgs.rustfmt
            pkgs.fuse3
            pkgs.git
          ];
        };
      });
    };
}
