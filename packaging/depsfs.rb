# Homebrew on Linux: brew install --HEAD ./packaging/depsfs.rb, or from a tap.
class Depsfs < Formula
  desc "Gives git worktrees their artifact directories at once, as FUSE views"
  homepage "https://github.com/depsfs/depsfs"
  license any_of: ["MIT", "Apache-2.0"]
  head "https://github.com/depsfs/depsfs.git", branch: "main"

  depends_on "rust" => :build
  depends_on "git"
  depends_on :linux

  def install
    system "cargo", "install", *std_cargo_args
    bin.install "packaging/git-depsfs"
    sbin.install Dir["mount-helpers/*mount.*depsfs"]
    system bin/"depsfs", "man", "--all", man
    generate_completions_from_executable(bin/"depsfs", "completions")
    pkgshare.install "mount-helpers/ci3-env.sh", "mount-helpers/cache-remotes.toml"
  end

  service do
    run [opt_bin/"depsfs", "service", "run"]
    keep_alive true
  end

  def caveats
    <<~EOS
      An ordinary user needs the system's fusermount3 with its set-user-id bit, which Homebrew cannot install:
        sudo apt-get install fuse3
    EOS
  end

  test do
    system "git", "init", "-q", "repo"
    cd "repo" do
      assert_match "git", shell_output("#{bin}/depsfs hook status")
    end
  end
end
