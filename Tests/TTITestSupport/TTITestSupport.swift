// TTITestSupport
