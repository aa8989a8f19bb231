print("tti-example")
