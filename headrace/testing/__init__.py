"""What tests of pipelines, headrace's own and yours, are made from: small pipelines, models, a platform in memory."""
