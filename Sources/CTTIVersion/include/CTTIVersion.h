/// The commit that this program was built from; "development" when the build was not told.
const char *ctti_commit(void);
