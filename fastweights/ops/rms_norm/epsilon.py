EPSILON = 1e-5  # added to the mean of the squares
