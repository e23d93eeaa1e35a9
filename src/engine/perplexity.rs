//! Perplexity of a text.

use super::{Engine, log_probability};
use crate::error::{Error, Result};

impl Engine {
    /// Mean negative log-likelihood of a text in windows of the context length, and the number of
    /// tokens in the mean: all but the first of every window. Its exponential is the perplexity.
    /// Needs [`super::LoadOptions::all_logits`].
    ///
    /// # Errors
    /// `invalid-request` for fewer than 2 tokens; errors of the device.
    pub async fn mean_nll(&mut self, ids: &[u32]) -> Result<(f64, usize)> {
        let (mut nll, mut count) = (0.0, 0);
        for window in ids.chunks(self.context_length as usize) {
            if window.len() < 2 {
                continue;
            }
            let logits = self.logits(&window[..window.len() - 1]).await?;
            for (row, token) in logits.chunks(self.vocabulary_size as usize).zip(&window[1..]) {
                nll -= log_probability(row, *token)?;
                count += 1;
            }
        }
        if count == 0 {
            let found = format!("{} tokens", ids.len());
            return Err(Error::invalid_value("text", found, "at least 2"));
        }
        Ok((nll / count as f64, count))
    }
}
