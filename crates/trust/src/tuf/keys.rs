//! Other keys for roles that are there: rotation and revocation, of the root's keys too. Whoever knows the first root follows.

use std::collections::HashMap;

use tough::schema::{Targets, key::Key};

use super::{
    Editor, TOP_ROLES, TufError,
    editor::TOP,
    sign::{KeyId, tuf_key},
};
use crate::{PublicKey, hex};

/// The replacement of one key by another, or by none.
struct Replacement {
    old: KeyId,
    new: Option<(KeyId, Key)>,
}

impl Replacement {
    /// Whether the list had the key.
    fn apply(&self, role: &str, keyids: &mut Vec<KeyId>, threshold: u64) -> Result<bool, TufError> {
        let Some(at) = keyids.iter().position(|id| *id == self.old) else { return Ok(false) };
        match &self.new {
            Some((new, _)) if !keyids.contains(new) => {
                if let Some(place) = keyids.get_mut(at) {
                    *place = new.clone();
                }
            }
            _ => drop(keyids.remove(at)),
        }
        let left = keyids.len() as u64;
        if left < threshold {
            return Err(TufError::TooFewLeft { role: role.into(), left, needed: threshold });
        }
        Ok(true)
    }

    /// Lists the new key, and forgets those that no role uses any more.
    fn update(&self, keys: &mut HashMap<KeyId, Key>, used: &[KeyId]) {
        if let Some((id, key)) = &self.new {
            keys.insert(id.clone(), key.clone());
        }
        keys.retain(|id, _| used.contains(id));
    }

    /// In the delegations of a role; the names of those that lost the key.
    fn delegations(&self, content: &mut Targets, only: Option<&str>) -> Result<Vec<String>, TufError> {
        let mut names = Vec::new();
        let Some(delegations) = &mut content.delegations else { return Ok(names) };
        for role in &mut delegations.roles {
            if only.is_none_or(|only| only == role.name)
                && self.apply(&role.name, &mut role.keyids, role.threshold.get())?
            {
                names.push(role.name.clone());
            }
        }
        let used: Vec<KeyId> = delegations.roles.iter().flat_map(|r| r.keyids.iter().cloned()).collect();
        if !names.is_empty() {
            self.update(&mut delegations.keys, &used);
        }
        Ok(names)
    }
}

impl Editor<'_> {
    /// Puts another key in the place of one, or takes it away, in one role or in every role that lists it; the names of these
    /// roles. What the old key has signed is signed anew on commit, so that it can be forgotten.
    pub fn replace_key(
        &mut self,
        old: &str,
        new: Option<&PublicKey>,
        only: Option<&str>,
    ) -> Result<Vec<String>, TufError> {
        let unknown = || TufError::UnknownKey {
            id: old.chars().take(80).collect(),
            role: only.map(|role| role.chars().take(80).collect()),
        };
        let before = self.root.clone().unwrap_or_else(|| self.client.root().clone());
        let top = self.content(TOP)?.ok_or_else(unknown)?;
        let known = before.keys.keys().chain(top.delegations.iter().flat_map(|d| d.keys.keys()));
        let id = known.into_iter().find(|id| hex(id) == old).cloned().ok_or_else(unknown)?;
        let replacement = Replacement { old: id, new: new.map(tuf_key).transpose()? };

        let mut names = Vec::new();
        let mut root = before;
        for (kind, role) in &mut root.roles {
            let name = kind.to_string();
            let wanted = TOP_ROLES.contains(&name.as_str()) && only.is_none_or(|only| only == name);
            if wanted && replacement.apply(&name, &mut role.keyids, role.threshold.get())? {
                names.push(name);
            }
        }
        if !names.is_empty() {
            let used: Vec<KeyId> = root.roles.values().flat_map(|r| r.keyids.iter().cloned()).collect();
            replacement.update(&mut root.keys, &used);
            self.root = Some(root);
        }

        let mut top = top;
        let delegated = replacement.delegations(&mut top, only)?;
        if !delegated.is_empty() {
            self.changed.insert(TOP.into(), top);
        }
        for name in &delegated {
            let Some(mut content) = self.content(name)? else { continue };
            // Bins have the keys of the role above them.
            for bin in replacement.delegations(&mut content, None)? {
                if let Some(content) = self.content(&bin)? {
                    self.changed.insert(bin, content);
                }
            }
            self.changed.insert(name.clone(), content);
        }
        names.extend(delegated);
        names.sort();
        if names.is_empty() { Err(unknown()) } else { Ok(names) }
    }
}
