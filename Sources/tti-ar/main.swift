print("tti-ar")
