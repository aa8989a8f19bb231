// TTIAccounting
