"""What a posterior is worth: metrics, figures and the report that embeds them."""
