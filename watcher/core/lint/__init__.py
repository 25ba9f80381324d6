"""What is wrong with rule files beyond their schema: findings with stable codes, as pure functions over texts."""
