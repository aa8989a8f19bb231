// TTI
