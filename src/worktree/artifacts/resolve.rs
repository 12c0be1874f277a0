//! Which way each component comes to its artifacts.
//!
//! | checked in this order                                           | way        |
//! |------------------------------------------------------------------|------------|
//! | none of the files of its key is there                            | nothing    |
//! | it has a key, and the store or the build cache has that artifact | artifact   |
//! | its key is the source's, or it has none; and the source has it   | source     |
//! | it has a build command                                           | build      |
//! | the source has it, made with another key                         | stale      |
//! | otherwise                                                        | nothing    |

use crate::cache::{self, Artifact, ArtifactName, Environment, Reporting};
use crate::component::files::Files;
use crate::component::key::{self, Keyed, Keys};
use crate::component::template;
use crate::component::{ComponentError, Components, Declared};
use crate::git::checkout::Checkout;
use crate::store::{Progress, Store};
use crate::sys::log::OrWarn;
use crate::sys::spawn;

/// How many artifacts are fetched at once: mostly they wait, for a remote or for the disk.
const AT_ONCE: usize = 16;

/// The places that artifacts come from, and the receivers of messages and progress.
pub struct ArtifactSources<'a> {
    pub store: &'a Store,
    pub env: &'a Environment,
    pub say: &'a (dyn Fn(&str) + Sync),
    pub progress: &'a (dyn Progress + Sync),
    /// Artifacts are fetched; else only looked up.
    pub fetch: bool,
    /// Tracked files get the times that came with an artifact.
    pub mtimes: bool,
    /// Artifacts become plain files, and no view is mounted.
    pub copy: bool,
}

/// Which way a component comes to its artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactSource {
    /// `None`: it is there, and was not fetched.
    Artifact(Option<Artifact>),
    Source,
    /// The source's, though its key is another, and nothing can be done about it.
    Stale,
    Build,
    Nothing(NoArtifact),
}

/// Why a component has no artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoArtifact {
    /// None of the files that make its key is there.
    NoKeyFiles,
    /// The source has not built it, and it has no build command.
    NotBuilt,
}

impl std::fmt::Display for NoArtifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NoArtifact::NoKeyFiles => "none of its key's files is there",
            NoArtifact::NotBuilt => "the source has not built it, and it has no build command",
        })
    }
}

/// The decision for one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub component: String,
    pub key: Keyed,
    /// The name of its artifact, if it has a key.
    pub artifact: Option<String>,
    pub way: ArtifactSource,
}

impl Decision {
    /// The artifact's origin as a clause that follows the component's name in a message.
    pub fn words(&self) -> String {
        let artifact = self.artifact.as_deref().unwrap_or_default();
        match &self.way {
            ArtifactSource::Artifact(_) => format!("artifact {artifact}"),
            ArtifactSource::Source => match self.key.key() {
                Some(key) => format!("from the source, whose key is the same: {key}"),
                None => format!("from the source{}", self.failed_key()),
            },
            ArtifactSource::Stale => "from the source, whose key is another".into(),
            ArtifactSource::Build => match self.key.key() {
                Some(_) => format!("to be built: there is no {artifact}"),
                None => format!("to be built{}", self.failed_key()),
            },
            ArtifactSource::Nothing(why) => format!("nothing: {why}{}", self.failed_key()),
        }
    }

    /// Its component, and why that has no key if it could not be computed.
    pub fn named_failure(&self) -> String {
        match &self.key {
            Keyed::Failed(why) => format!("{} (its key cannot be computed: {why})", self.component),
            _ => self.component.clone(),
        }
    }

    /// Why the key could not be computed, to be added to other words.
    fn failed_key(&self) -> String {
        match &self.key {
            Keyed::Failed(why) => format!("; its key cannot be computed: {why}"),
            _ => String::new(),
        }
    }

    /// Whether its artifact is not available without a build, or its name is not known.
    pub fn needs_build(&self) -> bool {
        match self.way {
            ArtifactSource::Build | ArtifactSource::Stale => true,
            ArtifactSource::Nothing(_) => self.key != Keyed::Absent && self.key != Keyed::None,
            ArtifactSource::Artifact(_) | ArtifactSource::Source => matches!(self.key, Keyed::Failed(_)),
        }
    }
}

/// A source of artifacts: a checkout that was built.
pub struct BuiltCheckout<'a> {
    pub checkout: &'a Checkout,
    /// Whether all of a component's artifacts are there.
    pub has: &'a dyn Fn(&Declared) -> bool,
}

/// The name of a component's artifact for a key. One without a `cache` name is in the store only.
pub fn artifact_name(declared: &Declared, key: &str) -> String {
    let component = &declared.component;
    match &component.cache {
        Some(template) => template.fill(&component.name, key),
        None => format!("{}-{key}", component.name.replace('/', "-")),
    }
}

/// As [`artifact_name`], of the team's remotes, which machines of several platforms share.
pub fn remote_name(declared: &Declared, key: &str) -> String {
    let name = artifact_name(declared, key);
    match declared.component.cache {
        Some(_) => name,
        None => format!("{name}-{}", template::platform()),
    }
}

/// Decides for all, or for those that `wanted` names.
pub fn decide(
    components: &Components,
    keys: &Keys,
    source: Option<&BuiltCheckout<'_>>,
    supply: &ArtifactSources<'_>,
    wanted: &dyn Fn(&Declared) -> bool,
) -> Result<Vec<Decision>, ComponentError> {
    let asked: Vec<&Declared> = components.all.iter().filter(|d| wanted(d)).collect();
    let found = find_all(&asked, keys, supply)?;
    let mut of_source: Option<Keys> = None;
    let mut decisions = Vec::new();
    for (declared, found) in asked.into_iter().zip(found) {
        let key = keys.get(&declared.component.name).cloned().unwrap_or(Keyed::None);
        let artifact = key.key().map(|k| artifact_name(declared, k));
        let way = match (&key, found) {
            (Keyed::Absent, _) => ArtifactSource::Nothing(NoArtifact::NoKeyFiles),
            (_, Some(way)) => way,
            _ => without_artifact(declared, &key, source, &mut of_source, components)?,
        };
        decisions.push(Decision { component: declared.component.name.clone(), key, artifact, way });
    }
    Ok(decisions)
}

fn without_artifact(
    declared: &Declared,
    key: &Keyed,
    source: Option<&BuiltCheckout<'_>>,
    of_source: &mut Option<Keys>,
    components: &Components,
) -> Result<ArtifactSource, ComponentError> {
    let has = source.is_some_and(|s| (s.has)(declared));
    let builds = declared.component.build.is_some();
    let Some(source) = source.filter(|_| has) else {
        return Ok(if builds { ArtifactSource::Build } else { ArtifactSource::Nothing(NoArtifact::NotBuilt) });
    };
    let Keyed::Key(key) = key else { return Ok(ArtifactSource::Source) };
    let keys = match of_source {
        Some(keys) => keys,
        None => of_source.insert(key::keys(components, &Files::Of(source.checkout), &source.checkout.root)?),
    };
    let same = keys.get(&declared.component.name).and_then(Keyed::key) == Some(key);
    Ok(match (same, builds) {
        (true, _) => ArtifactSource::Source,
        (false, true) => ArtifactSource::Build,
        (false, false) => ArtifactSource::Stale,
    })
}

/// For each component the artifact of its key, if it is to be had; some are fetched at once.
fn find_all(
    asked: &[&Declared],
    keys: &Keys,
    supply: &ArtifactSources<'_>,
) -> Result<Vec<Option<ArtifactSource>>, ComponentError> {
    spawn::try_map(asked, AT_ONCE, |declared| find(declared, keys, supply))
}

fn find(
    declared: &Declared,
    keys: &Keys,
    supply: &ArtifactSources<'_>,
) -> Result<Option<ArtifactSource>, ComponentError> {
    let Some(key) = keys.get(&declared.component.name).and_then(Keyed::key) else { return Ok(None) };
    let name = artifact_name(declared, key);
    let wrong = |e: cache::CacheError| ComponentError::Fetch {
        component: declared.component.name.clone(),
        name: name.clone(),
        source: Box::new(e),
    };
    let artifact = ArtifactName::new(&name).map_err(wrong)?;
    if declared.component.cache.is_none() {
        let known = artifact.find(supply.store).map_err(wrong)?;
        let Some(entry) = known else {
            let to = Reporting { say: supply.say, reports_hits: false, progress: supply.progress };
            let at = remote_name(declared, key);
            if !supply.fetch {
                let is_there = cache::team_has(supply.store, &at, supply.env, supply.say).map_err(wrong)?;
                return Ok(is_there.then_some(ArtifactSource::Artifact(None)));
            }
            let found = cache::from_team(supply.store, &artifact, &at, supply.env, &to).map_err(wrong)?;
            return Ok(found.map(|artifact| ArtifactSource::Artifact(Some(artifact))));
        };
        // In another user's store it stays as it is.
        if supply.fetch {
            supply.store.entries().touch(&entry.name).or_warn("the last use of an entry is not noted");
        }
        return Ok(Some(ArtifactSource::Artifact(Some(Artifact {
            name: artifact,
            tree: entry.tree,
            entry: entry.name,
        }))));
    }
    if !supply.fetch {
        let is_there = cache::exists(supply.store, &artifact, supply.env).map_err(wrong)?;
        return Ok(is_there.then_some(ArtifactSource::Artifact(None)));
    }
    let to = Reporting { say: supply.say, reports_hits: false, progress: supply.progress };
    let found = cache::fetch(supply.store, &artifact, supply.env, &to).map_err(wrong)?;
    Ok(found.map(|artifact| ArtifactSource::Artifact(Some(artifact))))
}
