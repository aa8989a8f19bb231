#include "CTTIVersion.h"

const char *ctti_commit(void) { return TTI_AR_COMMIT; }
