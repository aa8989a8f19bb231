print("tti-fuzz")
