//! The order of components: each after those it names, otherwise as they stand in the file.

use std::collections::BTreeMap;

/// A component, as far as its place in the order needs it.
pub trait Ordered {
    /// Its name.
    fn name(&self) -> &str;
    /// The components that are built before it.
    fn after(&self) -> &[String];
}

/// The numbers of the components in the order in which they are built; or the name of one that can't be, and why.
pub fn in_order<C: Ordered>(all: &[C]) -> Result<Vec<usize>, (String, String)> {
    let numbers: BTreeMap<&str, usize> = all.iter().enumerate().map(|(n, c)| (c.name(), n)).collect();
    for component in all {
        if let Some(unknown) = component.after().iter().find(|name| !numbers.contains_key(name.as_str())) {
            return Err((component.name().to_owned(), format!("after names {unknown:?}, which is no component")));
        }
    }
    let mut order: Vec<usize> = Vec::with_capacity(all.len());
    let mut left: Vec<usize> = (0..all.len()).collect();
    while !left.is_empty() {
        let is_free = |n: &usize| all[*n].after().iter().all(|name| order.contains(&numbers[name.as_str()]));
        let Some(at) = left.iter().position(is_free) else {
            let names: Vec<&str> = left.iter().map(|n| all[*n].name()).collect();
            return Err((names[0].into(), format!("after goes in a circle: {}", names.join(", "))));
        };
        order.push(left.remove(at));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::config::Component;

    fn order(all: &[(&str, &[&str])]) -> Result<Vec<usize>, String> {
        let component = |(name, after): &(&str, &[&str])| Component {
            name: (*name).into(),
            after: after.iter().map(|a| (*a).into()).collect(),
            ..Component::default()
        };
        in_order(&all.iter().map(component).collect::<Vec<_>>()).map_err(|(name, why)| format!("{name}: {why}"))
    }

    #[test]
    fn components_come_after_what_they_name_and_else_as_they_stand() {
        assert_eq!(order(&[("a", &[]), ("b", &[]), ("c", &[])]), Ok(vec![0, 1, 2]));
        assert_eq!(order(&[("a", &["c"]), ("b", &[]), ("c", &["b"])]), Ok(vec![1, 2, 0]));
        assert!(order(&[("a", &["x"])]).unwrap_err().contains("\"x\", which is no component"));
        assert!(order(&[("a", &["b"]), ("b", &["a"])]).unwrap_err().contains("circle: a, b"));
        assert!(order(&[("a", &["a"])]).is_err());
    }
}
