// TTIModels
