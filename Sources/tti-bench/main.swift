print("tti-bench")
