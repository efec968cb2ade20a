//! What functions and operators there are: the language's own, the extensions for strings, sets and optional values, and the
//! reference's (URLs, quantities, addresses, versions, formats, authorization). Facts from the specification of the language
//! and from the documentation "Common Expression Language in Kubernetes".

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::types::Type;

/// A form of a function.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// What it is called on, if it is.
    pub(super) target: Option<Type>,
    /// Its arguments.
    pub(super) args: Vec<Type>,
    /// What it gives.
    pub(super) result: Type,
}

/// Functions by name; forms are separated by `|`. `b i u d s y t p` are bool, int, uint, double, string, bytes, timestamp,
/// duration; `A B` anything; `*` dyn; `T` a type; `[X]` lists; `{K:V}` maps; `?X` optional values; `<word>` the reference's types.
const DECLARATIONS: &str = "
_&&_ (b,b)b
_||_ (b,b)b
!_ (b)b
-_ (i)i|(d)d
_==_ (A,A)b
_!=_ (A,A)b
_<_ ORDER
_<=_ ORDER
_>_ ORDER
_>=_ ORDER
_+_ (i,i)i|(u,u)u|(d,d)d|(s,s)s|(y,y)y|([A],[A])[A]|(t,p)t|(p,t)t|(p,p)p
_-_ (i,i)i|(u,u)u|(d,d)d|(t,t)p|(t,p)t|(p,p)p
_*_ (i,i)i|(u,u)u|(d,d)d
_/_ (i,i)i|(u,u)u|(d,d)d
_%_ (i,i)i|(u,u)u
@in (A,[A])b|(A,{A:B})b
_[_] ([A],i)A|({A:B},A)B|(?[A],i)?A|(?{A:B},A)?B
_[?_] ([A],i)?A|({A:B},A)?B|(?[A],i)?A|(?{A:B},A)?B
_?_:_ (b,A,A)A
size (s)i|(y)i|([A])i|({A:B})i|s.()i|y.()i|[A].()i|{A:B}.()i
contains s.(s)b
startsWith s.(s)b
endsWith s.(s)b
matches s.(s)b|(s,s)b
getFullYear TIME
getMonth TIME
getDayOfYear TIME
getDayOfMonth TIME
getDate TIME
getDayOfWeek TIME
getHours TIME|p.()i
getMinutes TIME|p.()i
getSeconds TIME|p.()i
getMilliseconds TIME|p.()i
int (i)i|(u)i|(d)i|(s)i|(t)i|(p)i
uint (u)u|(i)u|(d)u|(s)u
double (d)d|(i)d|(u)d|(s)d
string (s)s|(b)s|(i)s|(u)s|(d)s|(y)s|(t)s|(p)s|(<net.IP>)s|(<net.CIDR>)s
bytes (y)y|(s)y
bool (b)b|(s)b
timestamp (s)t|(i)t|(t)t
duration (s)p|(i)p|(p)p
dyn (A)*
type (A)T
charAt s.(i)s
indexOf s.(s)i|s.(s,i)i|[A].(A)i
lastIndexOf s.(s)i|s.(s,i)i|[A].(A)i
join [s].()s|[s].(s)s
lowerAscii s.()s
upperAscii s.()s
replace s.(s,s)s|s.(s,s,i)s
split s.(s)[s]|s.(s,i)[s]
substring s.(i)s|s.(i,i)s
trim s.()s
reverse s.()s|[A].()[A]
format s.([*])s
strings.quote (s)s
optional.of (A)?A
optional.none ()?A
optional.ofNonZeroValue (A)?A
optional.unwrap ([?A])[A]
unwrapOpt [?A].()[A]
hasValue ?A.()b
value ?A.()A
or ?A.(?A)?A
orValue ?A.(A)A
isSorted [A].()b
sum [A].()A
min [A].()A
max [A].()A
slice [A].(i,i)[A]
flatten [A].()[*]|[A].(i)[*]
distinct [A].()[A]
sort [A].()[A]
first [A].()?A
last [A].()?A
lists.range (i)[i]
sets.contains ([A],[A])b
sets.equivalent ([A],[A])b
sets.intersects ([A],[A])b
url (s)<kubernetes.URL>
isURL (s)b
getScheme <kubernetes.URL>.()s
getHost <kubernetes.URL>.()s
getHostname <kubernetes.URL>.()s
getPort <kubernetes.URL>.()s
getEscapedPath <kubernetes.URL>.()s
getQuery <kubernetes.URL>.(){s:[s]}
find s.(s)s
findAll s.(s)[s]|s.(s,i)[s]
quantity (s)<kubernetes.Quantity>
isQuantity (s)b
sign <kubernetes.Quantity>.()i
isInteger <kubernetes.Quantity>.()b
asInteger <kubernetes.Quantity>.()i
asApproximateFloat <kubernetes.Quantity>.()d
add <kubernetes.Quantity>.(<kubernetes.Quantity>)<kubernetes.Quantity>|<kubernetes.Quantity>.(i)<kubernetes.Quantity>
sub <kubernetes.Quantity>.(<kubernetes.Quantity>)<kubernetes.Quantity>|<kubernetes.Quantity>.(i)<kubernetes.Quantity>
isLessThan <kubernetes.Quantity>.(<kubernetes.Quantity>)b|<kubernetes.Semver>.(<kubernetes.Semver>)b
isGreaterThan <kubernetes.Quantity>.(<kubernetes.Quantity>)b|<kubernetes.Semver>.(<kubernetes.Semver>)b
compareTo <kubernetes.Quantity>.(<kubernetes.Quantity>)i|<kubernetes.Semver>.(<kubernetes.Semver>)i
semver (s)<kubernetes.Semver>|(s,b)<kubernetes.Semver>
isSemver (s)b|(s,b)b
major <kubernetes.Semver>.()i
minor <kubernetes.Semver>.()i
patch <kubernetes.Semver>.()i
ip (s)<net.IP>|<net.CIDR>.()<net.IP>
isIP (s)b
ip.isCanonical (s)b
family <net.IP>.()i
isUnspecified <net.IP>.()b
isLoopback <net.IP>.()b
isLinkLocalMulticast <net.IP>.()b
isLinkLocalUnicast <net.IP>.()b
isGlobalUnicast <net.IP>.()b
cidr (s)<net.CIDR>
isCIDR (s)b
containsIP <net.CIDR>.(s)b|<net.CIDR>.(<net.IP>)b
containsCIDR <net.CIDR>.(s)b|<net.CIDR>.(<net.CIDR>)b
masked <net.CIDR>.()<net.CIDR>
prefixLength <net.CIDR>.()i
format.named (s)?<kubernetes.NamedFormat>
format.dns1123Label FORMAT
format.dns1123Subdomain FORMAT
format.dns1035Label FORMAT
format.qualifiedName FORMAT
format.dns1123LabelPrefix FORMAT
format.dns1123SubdomainPrefix FORMAT
format.dns1035LabelPrefix FORMAT
format.labelValue FORMAT
format.uri FORMAT
format.uuid FORMAT
format.byte FORMAT
format.date FORMAT
format.datetime FORMAT
validate <kubernetes.NamedFormat>.(s)?[s]
path <kubernetes.authorization.Authorizer>.(s)<kubernetes.authorization.PathCheck>
group <kubernetes.authorization.Authorizer>.(s)<kubernetes.authorization.GroupCheck>
serviceAccount <kubernetes.authorization.Authorizer>.(s,s)<kubernetes.authorization.Authorizer>
resource <kubernetes.authorization.GroupCheck>.(s)<kubernetes.authorization.ResourceCheck>
subresource RESOURCE
namespace RESOURCE
name RESOURCE
fieldSelector RESOURCE
labelSelector RESOURCE
check <kubernetes.authorization.PathCheck>.(s)<kubernetes.authorization.Decision>|<kubernetes.authorization.ResourceCheck>.(s)<kubernetes.authorization.Decision>
allowed <kubernetes.authorization.Decision>.()b
reason <kubernetes.authorization.Decision>.()s
errored <kubernetes.authorization.Decision>.()b
error <kubernetes.authorization.Decision>.()s
";

/// Forms that many functions have.
const SHARED: [(&str, &str); 4] = [
    ("ORDER", "(b,b)b|(i,i)b|(u,u)b|(d,d)b|(s,s)b|(y,y)b|(t,t)b|(p,p)b|(i,u)b|(i,d)b|(u,i)b|(u,d)b|(d,i)b|(d,u)b"),
    ("TIME", "t.()i|t.(s)i"),
    ("FORMAT", "()<kubernetes.NamedFormat>"),
    ("RESOURCE", "<kubernetes.authorization.ResourceCheck>.(s)<kubernetes.authorization.ResourceCheck>"),
];

const OPAQUE: [&str; 11] = [
    "kubernetes.URL",
    "kubernetes.Quantity",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "net.IP",
    "net.CIDR",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.PathCheck",
    "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.ResourceCheck",
    "kubernetes.authorization.Decision",
];

/// A reader of the declarations.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn take(&mut self, c: char) -> bool {
        let found = self.rest.strip_prefix(c);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn ty(&mut self) -> Type {
        let mut chars = self.rest.chars();
        let first = chars.next().unwrap_or('*');
        self.rest = chars.as_str();
        match first {
            'b' => Type::Bool,
            'i' => Type::Int,
            'u' => Type::Uint,
            'd' => Type::Double,
            's' => Type::String,
            'y' => Type::Bytes,
            't' => Type::Timestamp,
            'p' => Type::Duration,
            'T' => Type::Meta,
            'A' | 'B' => Type::Param(first),
            '?' => Type::optional(self.ty()),
            '[' => {
                let item = self.ty();
                self.take(']');
                Type::list(item)
            }
            '{' => {
                let key = self.ty();
                self.take(':');
                let value = self.ty();
                self.take('}');
                Type::map(key, value)
            }
            '<' => {
                let (name, rest) = self.rest.split_once('>').unwrap_or((self.rest, ""));
                self.rest = rest;
                OPAQUE.iter().find(|known| **known == name).map_or(Type::Dyn, |known| Type::Opaque(known))
            }
            _ => Type::Dyn,
        }
    }

    fn form(&mut self) -> Form {
        let target = (!self.rest.starts_with('(')).then(|| self.ty());
        self.take('.');
        self.take('(');
        let mut args = Vec::new();
        while !self.take(')') && !self.rest.is_empty() {
            args.push(self.ty());
            self.take(',');
        }
        Form { target, args, result: self.ty() }
    }
}

static FUNCTIONS: LazyLock<BTreeMap<&'static str, Vec<Form>>> = LazyLock::new(|| {
    let lines = DECLARATIONS.lines().filter_map(|line| line.split_once(' '));
    let forms = |text: &str| {
        let text = SHARED.iter().fold(text.to_owned(), |text, (word, forms)| text.replace(word, forms));
        text.split('|').map(|rest| Reader { rest }.form()).collect()
    };
    lines.map(|(name, text)| (name, forms(text))).collect()
});

/// The forms of a function; none if there is no such function.
pub(super) fn forms(name: &str) -> Option<&'static [Form]> {
    FUNCTIONS.get(name).map(Vec::as_slice)
}
